package appversions

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const one = `{"clients":[{"clientId":"deltachat","sources":[{"sourceId":"gplay","versionInteger":754,` +
	`"versionString":"2.57.0","downloadUrl":"https://github.com/deltachat/x.apk"}]}]}`

func TestTheShippedListIsOneLine(t *testing.T) {
	value, ok := New(Shipped, nil).Value()
	if !ok || bytes.ContainsAny(value, "\r\n ") {
		t.Fatalf("%v, %s", ok, value)
	}
	var list struct {
		Clients []struct {
			ClientID string
			Sources  []struct {
				SourceID, VersionString, DownloadURL string
				VersionInteger                       uint32
			}
		}
	}
	if err := json.Unmarshal(value, &list); err != nil {
		t.Fatal(err)
	}
	c := list.Clients[0]
	s := c.Sources[0]
	if len(list.Clients) != 1 || len(c.Sources) != 1 || c.ClientID != "deltachat" || s.SourceID != "gplay" || s.VersionInteger != 754 ||
		s.VersionString != "2.57.0" || !strings.HasPrefix(s.DownloadURL, "https://github.com/deltachat/") {
		t.Errorf("%+v", list)
	}
}

func TestMinifyTouchesNothingInsideStrings(t *testing.T) {
	spaced := strings.NewReplacer("{", "{ \n", ",", " ,\t", "2.57.0", `2.57\n \"0`, "x.apk", `\u0041<&>.apk`).Replace(one)
	got, err := Minify([]byte(spaced))
	want := strings.NewReplacer("2.57.0", `2.57\n \"0`, "x.apk", `\u0041<&>.apk`).Replace(one)
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	if got, err := Minify([]byte(strings.ReplaceAll(one, "754", "4294967295"))); err != nil {
		t.Errorf("the highest number: %v, %s", err, got)
	}
	if got, err := Minify([]byte(strings.ReplaceAll(one, "github.com/deltachat", "download.delta.chat"))); err != nil {
		t.Errorf("the second place: %v, %s", err, got)
	}
}

func TestListsThatClientsWouldDropAreRefused(t *testing.T) {
	change := func(old, now string) string {
		s := strings.Replace(one, old, now, 1)
		if s == one {
			t.Fatalf("%q is not in the list", old)
		}
		return s
	}
	source := one[strings.Index(one, `{"sourceId"`) : len(one)-len(`]}]}`)]
	for name, list := range map[string]string{
		"empty": "", "no JSON": "x", "a list": "[]", "null": "null", "cut": one[:len(one)-1], "more": one + "{}", "not UTF-8": change("gplay", "\xff"),
		"too large": strings.Repeat(" ", MaxSize) + one, "nesting": strings.Repeat("[", 30000),
		"true": change("754", "true"), "negative": change("754", "-1"), "minus zero": change("754", "-0"), "too high": change("754", "4294967296"),
		"text": change("754", `"754"`), "float": change("754", "754.0"), "exponent": change("754", "7e2"), "null version": change("754", "null"),
		"misspelt version": change("versionInteger", "versionInt"), "other case": change("versionInteger", "versioninteger"),
		"misspelt clients": change("clients", "client"), "misspelt client": change("clientId", "clientID"), "misspelt sources": change("sources", "source"),
		"misspelt source": change("sourceId", "sourceID"), "misspelt text": change("versionString", "version"), "misspelt URL": change("downloadUrl", "url"),
		"one more": change(`"versionString"`, `"more":1,"versionString"`), "one more above": change(`{"clients"`, `{"more":1,"clients"`),
		"twice": change(`"versionInteger":754`, `"versionInteger":754,"versionInteger":754`), "no clients": `{"clients":[]}`, "clients no list": `{"clients":{}}`,
		"no sources": change(source, ""), "sources null": `{"clients":[{"clientId":"x","sources":null}]}`,
		"duplicate source": change(source, source+","+source), "duplicate client": change(`"clients":[`, `"clients":[`+one[len(`{"clients":[`):len(one)-2]+","),
		"empty client": change("deltachat\",", `",`), "client a number": change(`"deltachat"`, "1"), "version a number": change(`"2.57.0"`, "2"),
		"version null": change(`"2.57.0"`, "null"), "empty version": change("2.57.0", ""), "empty source": change("gplay", ""),
		"foreign URL": change("github.com/deltachat/", "github.com/deltachat.example/"), "other scheme": change("https://", "http://"), "empty URL": change("https://github.com/deltachat/x.apk", ""),
	} {
		if got, err := Minify([]byte(list)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v, %.80s", name, err, got)
		}
	}
}

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "versions.json")
	var log bytes.Buffer
	l := New(path, slog.New(slog.NewTextHandler(&log, nil)))
	at := time.Unix(1_790_000_000, 0)
	for i, step := range []struct {
		list string
		want bool
	}{{"", false}, {one, true}, {"{", false}, {"{", false}, {strings.ReplaceAll(one, "754", "755"), true}, {"", false}} {
		if step.list == "" {
			os.Remove(path)
		} else if err := os.WriteFile(path, []byte(step.list+"\n"), 0o600); err != nil {
			t.Fatal(err)
		} else if err := os.Chtimes(path, at, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			value, ok := l.Value()
			if ok != step.want || ok && string(value) != step.list {
				t.Errorf("step %d: %v, %s", i, ok, value)
			}
			if found := l.Findings(); (len(found) == 0) != step.want {
				t.Errorf("step %d: findings %v", i, found)
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines of log:\n%s", n, log.String())
	}
	if value, ok := New(None, nil).Value(); ok {
		t.Errorf("none is %s", value)
	}
}

func FuzzMinify(f *testing.F) {
	f.Add([]byte(one))
	f.Add(shipped)
	f.Fuzz(func(t *testing.T, list []byte) {
		once, err := Minify(list)
		if err != nil {
			return
		}
		if twice, err := Minify(once); err != nil || !bytes.Equal(once, twice) || bytes.ContainsAny(once, "\r\n") {
			t.Errorf("%v: %s becomes %s", err, once, twice)
		}
	})
}
