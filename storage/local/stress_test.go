package local

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	"barid/storage"
)

// Many writers and readers, with settling and checkpoints among them: what
// each was told is what is there in the end, and after opening anew.
func TestManyAtOnce(t *testing.T) {
	cfg := conformant(t.TempDir())
	cfg.Quota = 0
	cfg.SettleAfter, cfg.CheckpointBytes, cfg.FreshBytes, cfg.NoSync = time.Millisecond, 64<<10, 64<<10, true
	s := mustOpen(t, cfg)
	locals := []string{"alice", "bob", "carol"}
	for _, local := range locals {
		must(t, s, login(local), ops("mailbox", storage.CreateMailbox{Account: acct(local), Name: "A"}))
	}
	var mu sync.Mutex
	want := map[string]string{} // "local mailbox uid" to content
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() { stress(t, s, w, locals, &mu, want) })
	}
	all.Wait()
	check := func() {
		t.Helper()
		n := 0
		for _, local := range locals {
			for _, box := range []string{"INBOX", "A"} {
				for _, m := range view(t, s, local, box).Messages {
					n++
					key := fmt.Sprint(local, " ", box, " ", m.UID)
					if got := read(t, s, local, box, m.UID); got != want[key] {
						t.Errorf("%s: %.30q, want %.30q", key, got, want[key])
					}
				}
			}
		}
		if n != len(want) {
			t.Errorf("%d messages, want %d", n, len(want))
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func stress(t *testing.T, s *Store, w int, locals []string, mu *sync.Mutex, want map[string]string) {
	r := rand.New(rand.NewSource(int64(w)))
	type mine struct {
		local, box string
		uid        storage.UID
	}
	var own []mine
	key := func(m mine) string { return fmt.Sprint(m.local, " ", m.box, " ", m.uid) }
	note := func(m mine, text string) {
		mu.Lock()
		defer mu.Unlock()
		if text == "" {
			delete(want, key(m))
		} else {
			want[key(m)] = text
		}
	}
	text := func(m mine) string {
		mu.Lock()
		defer mu.Unlock()
		return want[key(m)]
	}
	commit := func(ops ...storage.Op) []storage.Outcome {
		res, err := s.Commit(ctx, storage.Batch{Ops: ops})
		for _, o := range res.Per {
			err = errors.Join(err, o.Err)
		}
		if err != nil {
			t.Error(err)
		}
		return res.Per
	}
	for i := range 150 {
		switch n := r.Intn(10); {
		case n < 4 || len(own) == 0:
			body := fmt.Sprintf("%d %d %s", w, i, make([]byte, r.Intn(6000)))
			c := octets(body)
			var ops []storage.Op
			for _, local := range locals {
				ops = append(ops, storage.Deliver{To: at(local), Content: &c})
			}
			for j, o := range commit(ops...) {
				m := mine{locals[j], "INBOX", o.UID}
				note(m, body)
				own = append(own, m)
			}
		default:
			at := r.Intn(len(own))
			m := own[at]
			a := acct(m.local)
			uids := []storage.UID{m.uid}
			switch {
			case n < 6:
				commit(storage.Expunge{Account: a, Mailbox: m.box, UIDs: uids})
				note(m, "")
				own = append(own[:at], own[at+1:]...)
			case n < 7:
				commit(storage.SetFlags{Account: a, Mailbox: m.box, UIDs: uids, Flags: storage.Flags(r.Intn(32))})
			case n < 9:
				o := commit(storage.Copy{Account: a, Mailbox: m.box, Dest: "A", UIDs: uids})[0]
				c := mine{m.local, "A", o.Copied[0].Dest}
				note(c, text(m))
				own = append(own, c)
			default:
				o := commit(storage.Move{Account: a, Mailbox: m.box, Dest: "A", UIDs: uids})[0]
				c := mine{m.local, "A", o.Copied[0].Dest}
				note(c, text(m))
				note(m, "")
				own[at] = c
			}
		}
		if len(own) > 0 {
			m := own[r.Intn(len(own))]
			if got := read(t, s, m.local, m.box, m.uid); got != text(m) {
				t.Errorf("%s while others write: %.30q, want %.30q", key(m), got, text(m))
			}
		}
	}
}
