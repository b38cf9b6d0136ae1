package local

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

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
