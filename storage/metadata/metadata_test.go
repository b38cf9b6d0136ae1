package metadata_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"barid/storage/metadata"
)

var now = time.Unix(1_775_324_677, 0)

func read(t *testing.T, text string) *metadata.Metadata {
	t.Helper()
	m, err := metadata.Read(strings.NewReader(text), now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func written(t *testing.T, m *metadata.Metadata) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// values joins tokens as a client sees them.
func values(m *metadata.Metadata, at time.Time) string {
	var v []string
	for _, t := range m.Tokens(at) {
		v = append(v, t.Value)
	}
	return strings.Join(v, " ")
}

func add(t *testing.T, m *metadata.Metadata, token string, at time.Time) {
	t.Helper()
	if err := m.AddToken(token, at); err != nil {
		t.Fatal(err)
	}
}

func TestTheReferencesFileIsReadAndWritten(t *testing.T) {
	text := fmt.Sprintf(`{"devicetoken": {"zz": %d, "aa": %d.5, "openpgp:<&>": %d}}`+"\n", now.Unix()-5, now.Unix()-7, now.Unix())
	m := read(t, text)
	if got := values(m, now); got != "zz aa openpgp:<&>" {
		t.Error(got)
	}
	if got, want := written(t, m), strings.Replace(text, ".5", "", 1); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := written(t, &metadata.Metadata{}); got != `{"devicetoken": {}}`+"\n" {
		t.Error(got)
	}
}

func TestAListOfTokensIsTheOldForm(t *testing.T) {
	m := read(t, `{"devicetoken": ["b", "a", "b"]}`)
	tokens := m.Tokens(now)
	if fmt.Sprint(values(m, now)) != "b a" || !tokens[0].Set.Equal(now) || !tokens[1].Set.Equal(now) {
		t.Error(tokens)
	}
}

func TestWhatIsCorruptIsEmptyAndToldWithoutItsContent(t *testing.T) {
	for _, text := range []string{
		"", "{", "[]", "null", `"devicetoken"`, `{"devicetoken": 5}`, `{"devicetoken": {"a": "b"}}`, `{"devicetoken": [1]}`,
		`{"devicetoken": {}} x`, `{"entries": []}`, `{"entries": {"INBOX": {"/private/x": "secret!"}}}`,
		`{"devicetoken": {"secret": x}}`, `{"x": "` + strings.Repeat("secret", 2<<20) + `"}`,
		strings.Repeat("[", 100_000),
	} {
		m, err := metadata.Read(strings.NewReader(text), now)
		if !errors.Is(err, metadata.ErrCorrupt) || !strings.Contains(err.Error(), "corrupt") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v", text, err)
		}
		if m == nil || !m.Empty() {
			t.Errorf("%.40q: not empty", text)
		}
		add(t, m, "1111", now)
	}
}

func TestAddingATokenTwiceRefreshesItAndKeepsItsPlace(t *testing.T) {
	m := &metadata.Metadata{}
	add(t, m, "1111", now)
	add(t, m, "2222", now)
	add(t, m, "1111", now.Add(time.Hour))
	if got := values(m, now.Add(time.Hour)); got != "1111 2222" {
		t.Error(got)
	}
	if got := m.Tokens(now.Add(time.Hour))[0].Set; !got.Equal(now.Add(time.Hour)) {
		t.Error(got)
	}
	if !m.RemoveToken("1111") || m.RemoveToken("1111") || values(m, now) != "2222" {
		t.Error(values(m, now))
	}
}

func TestTokensHaveALife(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		later time.Duration
		valid bool
	}{
		{0, true}, {90*day - time.Second, true}, {90 * day, false}, {-59 * time.Second, true}, {-60 * time.Second, false}, {-5000 * day, false},
	} {
		m := &metadata.Metadata{}
		add(t, m, "1111", now)
		if got := values(m, now.Add(c.later)) != ""; got != c.valid {
			t.Errorf("%v later: valid %t", c.later, got)
		}
		if m.Empty() == c.valid {
			t.Errorf("%v later: kept, though invalid, or lost", c.later)
		}
	}
	for _, stamp := range []string{"1e300", "-1e300", "-5", "99999999999999999999"} {
		if got := values(read(t, `{"devicetoken": {"a": `+stamp+`}}`), now); got != "" {
			t.Errorf("a token set at %s is valid", stamp)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	m := &metadata.Metadata{}
	for i := range 40 {
		add(t, m, fmt.Sprint(i), now.Add(time.Duration(i)*time.Second))
		add(t, m, "0", now.Add(time.Duration(i)*time.Second)) // an old one in use stays
	}
	tokens := m.Tokens(now.Add(time.Minute))
	if len(tokens) != metadata.MaxTokens || tokens[0].Value != "0" || tokens[1].Value != "9" {
		t.Errorf("%d tokens: %v", len(tokens), tokens)
	}
	for _, token := range []string{"", strings.Repeat("a", 4097), "a\nb", "a\x00", "\x7f", "\xff"} {
		if err := m.AddToken(token, now); !errors.Is(err, metadata.ErrToken) {
			t.Errorf("%.10q: %v", token, err)
		}
	}
	add(t, m, strings.Repeat("a", 4096), now)
}

func TestEntriesAreKeptByMailbox(t *testing.T) {
	m := &metadata.Metadata{}
	set := func(mailbox, name, value string) {
		t.Helper()
		if err := m.Set(mailbox, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	set("INBOX", "/private/z", "one\x00\xff")
	set("", "/private/comment", "two")
	set("INBOX", "/private/a", "")
	set("INBOX", "/private/z", "three\xff")
	add(t, m, "1111", now)
	text := written(t, m)
	want := fmt.Sprintf(`{"devicetoken": {"1111": %d}, "entries": {"INBOX": {"/private/z": "dGhyZWX/", "/private/a": ""}, "": {"/private/comment": "dHdv"}}}`+"\n", now.Unix())
	if text != want {
		t.Errorf("%s, want %s", text, want)
	}
	m = read(t, text)
	if got := m.Entries("INBOX"); len(got) != 2 || got[0].Name != "/private/z" || string(got[0].Value) != "three\xff" || got[1].Value == nil {
		t.Errorf("%q", got)
	}
	if err := m.Set("INBOX", "/private/z", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Get("INBOX", "/private/z"); ok {
		t.Error("removed, but there")
	}
	m.Rename("INBOX", "Archive")
	if v, ok := m.Get("Archive", "/private/a"); !ok || len(v) != 0 || len(m.Entries("INBOX")) != 0 {
		t.Error(v, ok)
	}
	m.Forget("Archive")
	if v, ok := m.Get("", "/private/comment"); !ok || string(v) != "two" || len(m.Entries("Archive")) != 0 {
		t.Error(v, ok)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	m := &metadata.Metadata{}
	big := make([]byte, metadata.MaxValueSize)
	for i := range metadata.MaxEntries {
		if err := m.Set("INBOX", fmt.Sprint("/private/", i), big); err != nil {
			t.Fatal(err)
		}
	}
	for i := range metadata.MaxTokens {
		add(t, m, strings.Repeat("a", 4000)+fmt.Sprint(i), now)
	}
	if err := m.Set("INBOX", "/private/more", nil); err != nil {
		t.Error(err)
	}
	if err := m.Set("INBOX", "/private/more", big); !errors.Is(err, metadata.ErrTooMany) {
		t.Error(err)
	}
	if err := m.Set("INBOX", "/private/1", append(big, 0)); !errors.Is(err, metadata.ErrTooLarge) {
		t.Error(err)
	}
	// The fullest file there can be is read again.
	back := read(t, written(t, m))
	if !reflect.DeepEqual(back, m) {
		t.Error("not the same after reading")
	}
}

func TestMembersOfOthersAreKept(t *testing.T) {
	text := `{"devicetoken": {}, "future": {"b": [1, 2],  "a": null}}` + "\n"
	if got := written(t, read(t, text)); got != text {
		t.Errorf("%s, want %s", got, text)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"devicetoken": {"zz": 1775324677, "aa": 1.5e9}, "entries": {"": {"/private/a": "YQ=="}}, "x": [1]}`))
	f.Add([]byte(`{"devicetoken": ["a", "b"], "entries": {"INBOX": {"/private/a": null}}}`))
	f.Add([]byte(`{"devicetoken": {"a": 1}, "devicetoken": {"a": 2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := metadata.Read(bytes.NewReader(b), now)
		if err != nil {
			if !m.Empty() {
				t.Fatal("an error and no empty metadata")
			}
			return
		}
		text := written(t, m)
		back, err := metadata.Read(strings.NewReader(text), now)
		if err != nil {
			t.Fatalf("%s is not readable: %v", text, err)
		}
		if again := written(t, back); again != text {
			t.Fatalf("%s becomes %s", text, again)
		}
		if n := len(m.Tokens(now)); n > metadata.MaxTokens {
			t.Fatalf("%d tokens", n)
		}
	})
}
