package local

import (
	"errors"
	"fmt"
	"time"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

func expire(name string, p storage.ExpiryPolicy) step {
	return step{"expire " + name, func(s *Store) error { return s.Expire(ctx, p, nil) }}
}

// expireInUse expires accounts while somebody has that one open.
func expireInUse(local string) step {
	return step{"expire beside " + local, func(s *Store) error {
		m, err := s.Open(ctx, acct(local), "INBOX")
		if err != nil {
			return err
		}
		defer m.Close()
		return s.Expire(ctx, storage.ExpiryPolicy{Accounts: time.Hour}, nil)
	}}
}

// expiryDrills are those of what leaves for its age. Logins count from the
// midnight before, so an hour without one is over at once.
func expiryDrills() []drill {
	const old = "mail/relay.test/alice@relay.test"
	many := []step{login("alice")}
	for range 3 {
		many = append(many, login("bob"), ops("end", storage.DeleteAccount{Account: acct("bob")}), settleNow,
			ops("evidence", storage.Deliver{To: at("alice"), Content: mail("bob is gone", 60)}))
	}
	return []drill{
		{
			name: "expiry",
			prepare: func(disk *faultfs.FS) error {
				large := string(*mail("large", storage.LargeSize+1).(*octets))
				return seal(disk,
					puts(disk, old+"/password", hashed("a long password")),
					puts(disk, old+"/maildirsize", "500000000S\n"),
					puts(disk, old+"/cur/1788000000.M1P1.exam,S=3:2,S", "old"),
					puts(disk, old+"/cur/1789300000.M2P1.exam:2,S", large),
					puts(disk, old+"/new/1789300001.M3P1.exam", large),
					puts(disk, old+"/new/1789900000.M4P1.exam,S=5", "young"),
					puts(disk, old+"/.A/cur/1788000001.M5P1.exam,S=3:2,", "old"))
			},
			lives: []life{{steps: []step{
				login("alice"), login("bob"),
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}, storage.Deliver{To: at("bob"), Content: mail("one", 100)}),
				expire("mail", storage.ExpiryPolicy{Mail: 20 * days, Large: 7 * days}),
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("two", 100)}),
				checkpointNow,
				expireInUse("alice"),
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("three", 100)}),
				settleNow, checkpointNow,
				login("bob"),
			}}},
		},
		{
			name: "removed names",
			// The next expiry packs the list; then bob dies once more.
			lives: []life{{steps: append(many,
				expire("packs", storage.ExpiryPolicy{Mail: 20 * days}), checkpointNow,
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("more", 100)}),
			)}},
			check: nobodyTakesBob,
		},
		{
			name: "a confirmed clock",
			prepare: func(disk *faultfs.FS) error {
				l := &lineFile{title: tableTitle}
				return seal(disk, puts(disk, tableName, l.seal(l.title)+l.seal("C 1700000000")))
			},
			lives: []life{{steps: []step{
				login("alice"),
				{"confirm", func(s *Store) error { return s.Expire(ctx, storage.ExpiryPolicy{ConfirmClock: true}, nil) }},
				ops("evidence", storage.Deliver{To: at("alice"), Content: mail("it is confirmed", 60)}),
				expire("nothing", storage.ExpiryPolicy{Mail: 20 * days}),
			}}},
			check: func(s *Store) error {
				if u, err := s.Usage(ctx, acct("alice")); err != nil || u.Messages == 0 {
					return nil // it was not confirmed yet
				}
				return s.Expire(ctx, storage.ExpiryPolicy{DryRun: true}, nil)
			},
		},
	}
}

// nobodyTakesBob tries to, when bob was removed at least once.
func nobodyTakesBob(s *Store) error {
	if _, err := s.Lookup(ctx, at("bob")); err == nil {
		return nil
	}
	// The list may be lost, but not when what came after its first line is there.
	u, err := s.Usage(ctx, acct("alice"))
	removed := err == nil && u.Messages > 0
	_, err = s.Login(ctx, at("bob"), "a squatter's password", storage.Origin{})
	if removed && !errors.Is(err, storage.ErrRefused) {
		return fmt.Errorf("somebody took a removed name: %v", err)
	}
	if err == nil {
		_, err = s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.DeleteAccount{Account: acct("bob")}}})
		return err
	}
	return nil
}
