package local

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// A token that was removed stays removed when the power goes, whether a
// checkpoint came in between or not; one that was set again is there.
func TestRemovedTokensStayRemovedThroughAPowerCut(t *testing.T) {
	set := func(v string) storage.Op {
		return storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte(v)}
	}
	remove := func(v string) storage.Op { return storage.RemoveToken{Account: acct("alice"), Token: v} }
	for checkpoint := range 4 {
		disk := faultfs.New()
		s, err := openStill(faulty(disk))
		if err != nil {
			t.Fatal(err)
		}
		steps := []step{login("alice"), ops("set", set("one"), set("two"), set("three")), ops("remove", remove("one"), remove("two")), ops("again", set("two"))}
		for i, do := range steps {
			if _, err := run(s, []step{do}); err != nil {
				t.Fatal(err)
			}
			if i == checkpoint {
				if err := s.checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
		}
		after, err := openStill(faulty(disk.Cut(rand.New(rand.NewSource(int64(checkpoint))))))
		if err != nil {
			t.Fatal(err)
		}
		list, err := after.Entries(ctx, acct("alice"), "")
		var got []string
		for _, e := range list {
			got = append(got, string(e.Value))
		}
		if fmt.Sprint(got) != "[three two]" || err != nil {
			t.Errorf("checkpoint after step %d: tokens %s, %v", checkpoint, strings.Join(got, " "), err)
		}
		s.Close()
		after.Close()
	}
}

// A token that its device set again after SetBy stays, one of the same second
// goes; others are left alone, and a wrong one or a wrong account harms nothing.
func TestATokenSetAgainIsNotRemoved(t *testing.T) {
	cfg := faulty(faultfs.New())
	began := time.Unix(1_790_000_000, 0)
	now := began
	cfg.Now = func() time.Time { return now }
	s, err := openStill(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := func(v string) storage.Op {
		return storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte(v)}
	}
	if _, err := run(s, []step{login("alice"), ops("set", set("one"), set("two"))}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Second)
	if _, err := run(s, []step{ops("again", set("one"))}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token string
		setBy time.Time
		left  string
	}{
		{"wrong", time.Time{}, "[one two]"},
		{"one", began.Add(9 * time.Second), "[one two]"},
		{"two", began.Add(-time.Second), "[one two]"},
		{"one", now.Add(900 * time.Millisecond), "[two]"},
		{"two", time.Time{}, "[]"},
	} {
		if _, err := run(s, []step{ops("remove", storage.RemoveToken{Account: acct("alice"), Token: c.token, SetBy: c.setBy})}); err != nil {
			t.Fatal(err)
		}
		list, err := s.Entries(ctx, acct("alice"), "")
		got := []string{}
		for _, e := range list {
			got = append(got, string(e.Value))
		}
		if fmt.Sprint(got) != c.left || err != nil {
			t.Errorf("%s by %v: tokens %v, %v", c.token, c.setBy.Sub(began), got, err)
		}
	}
}
