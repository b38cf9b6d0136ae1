package local

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"barid/internal/journal/faultfs"
	"barid/smtp"
	"barid/storage"
)

func farAway(locals ...string) (list []smtp.Address) {
	for _, local := range locals {
		list = append(list, smtp.Address{LocalPart: local, Domain: "far.test"})
	}
	return list
}

// leave is an Enqueue of Alice's for recipients at far.test.
func leave(c storage.Content, to ...string) storage.Enqueue {
	return storage.Enqueue{
		Dest: "far.test", From: smtp.Path{Address: at("alice")}, Sender: at("alice"), To: farAway(to...),
		Prefix: []byte("X: " + strings.Join(to, " ") + "\r\n"), Content: c,
	}
}

// of makes an Enqueue another's.
func of(local string, op storage.Enqueue) storage.Enqueue {
	op.Sender, op.From = at(local), smtp.Path{Address: at(local)}
	return op
}

// done says that recipients have a message, and waits until that is durable.
func done(id storage.QueueID, to ...string) step {
	return step{fmt.Sprint("done ", id), func(s *Store) error {
		err := s.Done(id, farAway(to...))
		if errors.Is(err, storage.ErrNotQueued) {
			err = nil // a flush failed, and it is done a second time
		}
		return errors.Join(err, s.queue.flush())
	}}
}

func queueDrills() []drill {
	group := mail("group", 5000)
	held := ops("hold", storage.MarkQueued{ID: 1, Set: storage.QueueHeld})
	some := []step{
		login("alice"),
		ops("queue", leave(group, "bob", "carol"), leave(group, "dave")),
		settleNow, done(1, "carol"), held,
		checkpointNow,
		ops("queue on", leave(mail("second", 300), "bob", "carol", "dave")),
		settleNow,
	}
	goOn := []step{
		done(3, "dave"), done(2, "dave"), settleNow,
		ops("queue later", leave(mail("third", 200), "erin")),
		settleNow, done(3, "bob", "carol"), settleNow,
		checkpointNow,
		ops("release", storage.MarkQueued{ID: 1, Unset: storage.QueueHeld}),
		ops("queue last", leave(mail("fourth", 100), "frank")),
		settleNow,
	}
	return []drill{
		{
			name: "queue",
			lives: []life{{steps: []step{
				login("alice"), login("bob"),
				ops("both", storage.Deliver{To: at("bob"), Content: group}, leave(group, "bob", "carol"), leave(group, "dave")),
				ops("short", leave(mail("short", 700), "bob")),
				done(1, "carol"), done(3, "bob"),
				settleNow,
				ops("its end", storage.Dequeue{ID: 2, To: farAway("dave")}, storage.Deliver{To: at("alice"), Content: mail("failed", 300)}),
				settleNow, held,
				ops("the local one goes", storage.Expunge{Account: acct("bob"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
				settleNow,
				checkpointNow,
				ops("release", storage.MarkQueued{ID: 1, Set: storage.QueueWarned, Unset: storage.QueueHeld}),
				ops("large", leave(mail("large", inlineMax+1000), "bob"), leave(mail("large too", inlineMax+2000), "carol")),
				settleNow, done(4, "bob"),
				checkpointNow,
				done(1, "bob"), settleNow,
				ops("all of it", storage.Dequeue{ID: 5, To: farAway("carol")}, of("bob", leave(mail("last", 400), "dave"))),
				ops("its sender goes", storage.DeleteAccount{Account: acct("bob")}),
				settleNow,
				checkpointNow,
				ops("later", leave(mail("later", 100), "bob")),
				settleNow,
			}}},
		},
		{
			name: "a queue that lost the journal",
			lives: []life{
				{steps: some},
				{before: func(disk *faultfs.FS) error { return seal(disk, disk.RemoveAll(journalDir)) }, steps: goOn},
			},
		},
		{
			name: "a queue without index",
			lives: []life{
				{steps: some},
				{before: func(disk *faultfs.FS) error { return seal(disk, disk.Remove(queueDir+"/"+indexName)) }, steps: goOn},
			},
		},
	}
}

// dumpQueue writes down what the queue shows.
func dumpQueue(b *dumped, s *Store) error {
	var err error
	s.Watch(func(e storage.QueueEntry) {
		item, failed := s.Queued(ctx, e.ID)
		sum := crc32.NewIEEE()
		if failed == nil {
			failed = s.ReadQueued(ctx, e.ID, func(c storage.Content) error {
				n, err := io.Copy(sum, io.NewSectionReader(c, 0, c.Size()))
				if err == nil && n+int64(len(item.Prefix)) != e.Size {
					err = io.ErrUnexpectedEOF
				}
				return err
			})
		}
		err = errors.Join(err, failed)
		fmt.Fprintf(b, "queued %d %s T%d S%d %v from %s of %s to", e.ID, e.Dest, e.Queued, e.Size, item.Marks, item.From.Wire(), e.Sender.Wire())
		for _, to := range item.To {
			fmt.Fprintf(b, " %s", to.Wire())
		}
		fmt.Fprintf(b, " %q %08x\n", item.Prefix, sum.Sum32())
	})()
	n, _ := s.QueueLen()
	fmt.Fprintf(b, "%d queued\n", n)
	return err
}

// queueFits compares the files of the queue with its entries.
func queueFits(s *Store, disk *faultfs.FS) error {
	for _, sub := range []string{queueEnvelopes, queueContents, "tmp", queueAside} {
		entries, err := disk.ReadDir(queueDir + "/" + sub)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		want, _ := s.QueueLen()
		if sub == "tmp" || sub == queueAside {
			want = 0
		}
		if len(entries) != want {
			return fmt.Errorf("%d files in %s of the queue, want %d", len(entries), sub, want)
		}
	}
	return nil
}
