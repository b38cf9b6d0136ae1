package cmdeploy

import (
	"errors"
	"strings"
	"testing"
)

// The file is read as the reference reads it: comments, both separators,
// continued lines; everything else has its line.
func TestReadsTheReferencesFile(t *testing.T) {
	ini, err := ReadINI(strings.NewReader("# made by init\n[params]\n\nMail_Domain = Chat.Example.org\nmax_mailbox_size: 1G # not a comment\n; old\nprivacy_postal = one\n   two\niroh_relay =\n"))
	if err != nil {
		t.Fatal(err)
	}
	if ini.Domain() != "chat.example.org" || len(ini.Keys()) != 4 {
		t.Errorf("%q, %+v", ini.Domain(), ini.Keys())
	}
	for key, want := range map[string]string{"max_mailbox_size": "1G # not a comment", "privacy_postal": "one\ntwo", "iroh_relay": ""} {
		if got, set := ini.Get(key); !set || got != want {
			t.Errorf("%s = %q, %v", key, got, set)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "no mail_domain"},
		{"mail_domain = a.test\n", "line 1: a key outside"},
		{"[params]\nmail_domain = a.test\nmail_domain = b.test\n", "line 3"},
		{"[params]\n indented\n", "line 2"},
		{"[params]\nmail_domain\n", "line 2"},
		{"[params]\nx = " + strings.Repeat("x", maxINI), "larger"},
	} {
		if _, err := ReadINI(strings.NewReader(c.text)); !errors.Is(err, ErrINI) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v", c.text, err)
		}
	}
}

// Sizes are megabytes where nothing else is said.
func TestReadsTheReferencesSizes(t *testing.T) {
	for text, want := range map[string]int64{"256": 256 << 20, "100MB": 100 << 20, "  1g  ": 1 << 30, "0": 0} {
		if got, err := Megabytes(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1.5G", "1T", "10K", "-1", "9999999999999G"} {
		if got, err := Megabytes(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	if !Bool("True") || Bool("yes") || Bool("1") {
		t.Error("only true is true")
	}
}

func FuzzReadINI(f *testing.F) {
	f.Add("[params]\nmail_domain = a.test\n x\n")
	f.Add("[params]\r\nmail_domain:a.test\r\n;c\r\n#\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		ini, err := ReadINI(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(ini.Keys()) > maxINIKeys || ini.Domain() == "" {
			t.Fatalf("%d keys, domain %q", len(ini.Keys()), ini.Domain())
		}
		for _, k := range ini.Keys() {
			_, _ = Megabytes(k.Value)
		}
	})
}
