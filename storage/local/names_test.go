package local

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

func remove(local string) step {
	return ops("remove", storage.DeleteAccount{Account: acct(local)})
}

// squat tells whether somebody else can take the name.
func squat(t *testing.T, s *Store, local string) bool {
	t.Helper()
	_, err := s.Login(ctx, at(local), "a squatter's password", storage.Origin{})
	if err != nil && !errors.Is(err, storage.ErrRefused) {
		t.Fatal(err)
	}
	return err == nil
}

// The name of a removed account is its owner's for a time, and everybody's
// after that, whoever removed it.
func TestRemovedNamesAreTheirOwners(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *Store, now *time.Time){
		"operator": func(t *testing.T, s *Store, _ *time.Time) { must(t, s, remove("alice")) },
		"expiry": func(t *testing.T, s *Store, now *time.Time) {
			*now = now.Add(100 * days)
			if total, _ := expireOnce(t, s, usual); total.Accounts != 1 {
				t.Errorf("%+v", total)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, now := aging(t, 0)
			cfg.Policy.NameReuseAfter = 365 * days
			s := openQuiet(t, cfg)
			defer func() { s.Close() }()
			must(t, s, login("alice"), checkpointNow)
			end(t, s, now)
			if squat(t, s, "alice") {
				t.Error("taken at once")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openQuiet(t, cfg)
			*now = now.Add(364 * days)
			if squat(t, s, "alice") {
				t.Error("taken after a restart")
			}
			must(t, s, login("alice"), remove("alice")) // the owner comes back, and goes
			if squat(t, s, "alice") {
				t.Error("taken after the second life")
			}
			*now = now.Add(365 * days)
			if !squat(t, s, "alice") {
				t.Error("never free again")
			}
			if !squat(t, s, "somebody") {
				t.Error("names that never were are free")
			}
		})
	}
}

// Zero frees names at once and keeps nothing.
func TestNamesMayBeFreeAtOnce(t *testing.T) {
	cfg, _ := aging(t, 0)
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), remove("alice"))
	if !squat(t, s, "alice") {
		t.Error("refused")
	}
	if _, err := os.Stat(cfg.Dir + "/" + namesFile); err == nil {
		t.Error("something was kept")
	}
}

// Neither the list nor its key shows a name; only we can read them.
func TestRemovedNamesAreNotReadable(t *testing.T) {
	cfg, _ := aging(t, 0)
	cfg.Policy.NameReuseAfter = 365 * days
	s := openQuiet(t, cfg)
	defer s.Close()
	must(t, s, login("alice"), remove("alice"), checkpointNow)
	for _, name := range []string{namesFile, keyFile} {
		info, err := os.Stat(cfg.Dir + "/" + name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
		if text, _ := os.ReadFile(cfg.Dir + "/" + name); strings.Contains(string(text), "alice") {
			t.Errorf("%s has %q", name, text)
		}
	}
}

// A spoilt line costs that line; without key all names are free, and the next
// removal makes another.
func TestSpoiltListOfNames(t *testing.T) {
	cfg, _ := aging(t, 0)
	cfg.Policy.NameReuseAfter = 365 * days
	s := openQuiet(t, cfg)
	must(t, s, login("alice"), login("bob"), remove("alice"), remove("bob"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list := cfg.Dir + "/" + namesFile
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	spoilt := strings.Replace(lines[1], "$6$", "$5$", 1)
	torn := lines[2] + "half a line" + strings.Repeat("\x00", 5000)
	if err := os.WriteFile(list, []byte(lines[0]+spoilt+torn), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openQuiet(t, cfg)
	if !squat(t, s, "alice") || squat(t, s, "bob") {
		t.Error("alice is to be free, bob not")
	}
	must(t, s, login("carol"), remove("carol")) // is appended behind the torn line
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openQuiet(t, cfg)
	if squat(t, s, "carol") || squat(t, s, "bob") {
		t.Error("carol or bob taken")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Dir+"/"+keyFile, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openQuiet(t, cfg)
	defer s.Close()
	if !squat(t, s, "carol") {
		t.Error("without key")
	}
	must(t, s, login("dave"), remove("dave"))
	if squat(t, s, "dave") {
		t.Error("with a new key")
	}
}

// The list is packed: what is over, or was removed again later, goes.
func TestListOfNamesIsPacked(t *testing.T) {
	cfg, now := aging(t, 0)
	cfg.Policy.NameReuseAfter = 365 * days
	s := openQuiet(t, cfg)
	defer s.Close()
	lines := func() int {
		text, err := os.ReadFile(cfg.Dir + "/" + namesFile)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n") - 1
	}
	for i := range 4 {
		local := fmt.Sprintf("user%d", i)
		must(t, s, login(local), remove(local))
	}
	must(t, s, settleNow)
	*now = now.Add(200 * days)
	must(t, s, login("user0"), remove("user0"), login("alice"), remove("alice"), settleNow)
	expireOnce(t, s, usual)
	if n := lines(); n != 6 {
		t.Errorf("%d lines while most of them count", n)
	}
	*now = now.Add(200 * days)
	must(t, s, settleNow)
	expireOnce(t, s, usual)
	if n := lines(); n != 2 {
		t.Errorf("%d lines", n)
	}
	if squat(t, s, "user0") || squat(t, s, "alice") || !squat(t, s, "user1") {
		t.Error("after packing")
	}
}

// Whatever stands in the files of lines, reading ends, takes only lines that
// were written, and appending works.
func FuzzLines(f *testing.F) {
	l := &lineFile{title: tableTitle}
	row := standing{1, 2, 3, 4, 5}.text("alice")
	f.Add([]byte(l.seal(l.title)+l.seal(row)+l.seal("C 1790000000")), "C 1")
	f.Add([]byte("A alice 1 1 1 1 1 12345678\n"+strings.Repeat("x", 3*maxLine)), row)
	f.Add([]byte(l.seal("1 00112233445566778899aabbccddeeff {SHA512-CRYPT}$6$x$y")+"\x00\x00\n\n "), "x")
	f.Add([]byte("half"), "")
	f.Fuzz(func(t *testing.T, text []byte, next string) {
		if len(next) > maxLine-10 || strings.ContainsAny(next, "\n") {
			return
		}
		disk := faultfs.New()
		if err := puts(disk, "lines", string(text)); err != nil {
			t.Fatal(err)
		}
		l := &lineFile{s: &Store{fs: disk}, name: "lines", title: tableTitle}
		read := func() (lines []string) {
			_, err := l.read(0, func(at int64, text string) {
				lines = append(lines, text)
				if again, err := l.line(at); err != nil || again != text {
					t.Errorf("%q at %d, then %q %v", text, at, again, err)
				}
				if local, row, ok := parseStanding(text); ok {
					if again, r, ok := parseStanding(row.text(local)); !ok || r != row || again != local {
						t.Errorf("%q became %q", text, row.text(local))
					}
				}
				if n, ok := parseRemovedName(text); ok {
					if again, ok := parseRemovedName(n.text()); !ok || again.tag != n.tag || again.hash != n.hash || !again.when.Equal(n.when) {
						t.Errorf("%q became %q", text, n.text())
					}
				}
				parseNoted(text)
			})
			if err != nil && !errors.Is(err, errTitle) {
				t.Fatal(err)
			}
			return lines
		}
		before := read()
		if strings.HasPrefix(next, l.word()+" ") {
			return
		}
		if _, err := l.append(next); err != nil {
			t.Fatal(err)
		}
		// A line may have lacked nothing but its end.
		if after := read(); len(after) <= len(before) || len(after) > len(before)+2 || after[len(after)-1] != next {
			t.Errorf("%q, then %q", before, after)
		}
	})
}
