package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the golden parts")

// Each file below testdata/bad has one mistake and what is said about it.
func TestEveryMistakeIsNamed(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil || len(a.Files) != 2 {
				t.Fatal(err, "or not two parts")
			}
			var wrong *Errors
			if _, err := Parse("barid.toml", a.Files[0].Data); !errors.As(err, &wrong) {
				t.Fatalf("the error is %v", err)
			}
			got := wrong.Error() + "\n"
			if *update {
				a.Files[1].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(a.Files[1].Data), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A domain alone is a full configuration.
func TestDomainAlone(t *testing.T) {
	for _, domain := range []string{"chat.example.test", "_chat.example.test", "192.0.2.7", "xn--bcher-kva.test"} {
		c, err := Parse("x", fmt.Appendf(nil, "domain = %q", domain))
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(Default(domain), c); d != "" {
			t.Error(d)
		}
	}
}

// Every form that TOML has for a value arrives.
func TestValuesArrive(t *testing.T) {
	const text = "domain = '''relay.test'''\r\n" + `
limits = { max_message_size = 1_000_000, "max_mailbox_size" = " 2gb " }
accounts.username_max_length = 0x14
[listen]
imaps = [
  "127.0.0.1:0", # any
  "[::1]:0",
]
http = []
[storage]
settle_after = "1m30s"
[iroh]
url = "http://127.0.0.1:3340/\u0061"
[contact]
admin = "admin@relay.test"
`
	c, err := Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Default("relay.test")
	want.Limits.MaxMessageSize, want.Limits.MaxMailboxSize = 1_000_000, 2*Gibi
	want.Accounts.UsernameMaxLength = 20
	want.Listen.IMAPS, want.Listen.HTTP = []string{"127.0.0.1:0", "[::1]:0"}, nil
	want.Storage.SettleAfter = Duration(90 * time.Second)
	want.Iroh.URL = "http://127.0.0.1:3340/a"
	want.Contact.Admin = "admin@relay.test"
	if d := cmp.Diff(want, c, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

// A byte order mark, as some editors write it, is no part of the first key.
func TestByteOrderMarkMeansNothing(t *testing.T) {
	c, err := Parse("x", []byte("\xef\xbb\xbfdomain = \"relay.test\"\n"))
	if err != nil || c.Domain != "relay.test" {
		t.Error(c, err)
	}
}

// IPv4 and IPv6 have their own ports, except where one socket has both.
func TestListenersOfBothFamilies(t *testing.T) {
	for addrs, fits := range map[string]bool{
		`"0.0.0.0:1", "[::1]:1"`: true, `"127.0.0.1:1", "[::1]:1"`: true, `"[::1]:1", "0.0.0.0:1"`: true,
		`"0.0.0.0:1", "127.0.0.1:1"`: false, `"[::]:1", "127.0.0.1:1"`: false, `"0.0.0.0:1", "[::]:1"`: false, `"[::1]:1", "[::]:1"`: false,
	} {
		_, err := Parse("x", fmt.Appendf(nil, "domain = \"relay.test\"\nlisten.imaps = [%s]\n", addrs))
		if (err == nil) != fits {
			t.Errorf("%s: %v", addrs, err)
		}
	}
}

// A file of mistakes alone takes little time and ends.
func TestManyMistakesEnd(t *testing.T) {
	for name, unit := range map[string]string{
		"keys": "aaa%d = 1\n", "tables": "[t%d]\nx = 1\n", "long keys": strings.Repeat("k", 90) + "%d = 1\n",
		"keys of an unknown table": "k%d = 1\n", "same": "domain = \"%d\"\n",
	} {
		var b strings.Builder
		if name == "long keys" || name == "keys of an unknown table" {
			b.WriteString("[nothing_near]\n")
		}
		for i := 0; b.Len() < MaxSize-200; i++ {
			fmt.Fprintf(&b, unit, i)
		}
		begin := time.Now()
		var wrong *Errors
		if _, err := Parse("x", []byte(b.String())); !errors.As(err, &wrong) || len(wrong.Problems) > maxProblems+1 {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	wide := "x = [{"
	for i := 0; len(wide) < MaxSize-20 && i < 20000; i++ {
		wide += fmt.Sprintf("a%d = 1, ", i)
	}
	begin := time.Now()
	if _, err := Parse("x", []byte(wide+"z = 1}]")); err == nil || time.Since(begin) > 5*time.Second {
		t.Error(err, time.Since(begin))
	}
	if _, err := Parse("x", make([]byte, MaxSize+1)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

// Whatever stands in the file, the answer is a Config that passes Check or
// problems with a place in the text.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, path := range files {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data)
	}
	f.Add(Sample())
	f.Add([]byte("domain = \"a.test\"\nlimits = {a = {b = [{c = 1}]}}\n\"\\u0000\" . 'x' = 1979-05-27"))
	f.Fuzz(func(t *testing.T, text []byte) {
		begin := time.Now()
		c, err := Parse("x", text)
		if took := time.Since(begin); took > 5*time.Second {
			t.Fatalf("took %v", took)
		}
		if err == nil {
			if err := c.Check(); err != nil {
				t.Fatal(err)
			}
			again, err := Parse("x", Show(c))
			if err != nil {
				t.Fatalf("what Show gives: %v", err)
			}
			if d := cmp.Diff(c, again, cmpopts.EquateEmpty()); d != "" {
				t.Fatal(d)
			}
			return
		}
		var wrong *Errors
		if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
			t.Fatalf("the error is %#v", err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range wrong.Problems {
			if p.Text == "" || len(text) <= MaxSize && (p.Line < 1 || p.Line > lines || p.Column < 1) {
				t.Fatalf("%d lines, problem %+v", lines, p)
			}
		}
	})
}
