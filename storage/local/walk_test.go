package local

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
	"barid/storage"
)

// A walk does to one account what comes to its mind, again and again, kills
// the store while it settles or makes a checkpoint, and looks whether
// everything is there. Walks went through two holes that no script thought of:
// mailboxes that were renamed before their mail had files, and copies whose
// sources went while a checkpoint was on its way.

// stride is one thing that a walk does. do gives a new store after a kill.
type stride struct {
	name string
	do   func(s *Store, disk *faultfs.FS) (*Store, error)
}

// errLost says that something is not as it was.
var errLost = errors.New("lost")

// look gives what the store shows, or errLost when that is not what it was.
func look(s *Store, after, was string) (string, error) {
	is, err := dump(s, false)
	if err != nil {
		return is, fmt.Errorf("%w: %w", errLost, err)
	}
	if was != "" && is != was {
		return is, fmt.Errorf("%w: after %s found\n%s\nwant\n%s", errLost, after, is, was)
	}
	return is, nil
}

// changing is a step that changes what is seen.
func changing(st step) stride {
	return stride{st.name, func(s *Store, _ *faultfs.FS) (*Store, error) { return nil, st.do(s) }}
}

// unseen is a step that changes nothing that is seen.
func unseen(st step) stride {
	return stride{st.name, func(s *Store, _ *faultfs.FS) (*Store, error) {
		was, err := look(s, "", "")
		if err != nil {
			return nil, err
		}
		if err := st.do(s); err != nil {
			return nil, err
		}
		_, err = look(s, st.name, was)
		return nil, err
	}}
}

// amid does a step in a checkpoint, when that makes its n-th file or directory.
func amid(n int, st step) stride {
	name := fmt.Sprintf("checkpoint, and at its file %d %s", n, st.name)
	return stride{name, func(s *Store, _ *faultfs.FS) (*Store, error) {
		var was string
		var err error
		d := s.fs.(*between)
		d.left, d.do = n, func() {
			if err = st.do(s); err == nil {
				was, err = look(s, "", "")
			}
		}
		if err := s.checkpoint(); err != nil {
			return nil, err
		}
		if d.left > 0 { // it made less
			d.left = 0
			d.do()
		}
		if err == nil {
			_, err = look(s, name, was)
		}
		return nil, err
	}}
}

// kill ends the process n operations of the disk into a step, and starts anew.
func kill(n int, st step) stride {
	name := fmt.Sprintf("killed %d operations into %s", n, st.name)
	return stride{name, func(s *Store, disk *faultfs.FS) (*Store, error) {
		was, err := look(s, "", "")
		if err != nil {
			return nil, err
		}
		disk.StopAt(disk.Ops() + n)
		_ = st.do(s) // mostly the power ends it
		_ = s.journal.Close()
		disk.StopAt(0)
		disk.Revive()
		if s, err = openBetween(disk); err != nil {
			return nil, fmt.Errorf("%w: %w", errLost, err)
		}
		_, err = look(s, name, was)
		return s, err
	}}
}

// between is a disk on which something happens while a file is made.
type between struct {
	*faultfs.FS
	left int // files and directories until then, zero is never
	do   func()
}

func openBetween(disk *faultfs.FS) (*Store, error) {
	cfg := faulty(disk)
	cfg.FS = &between{FS: disk}
	return openStill(cfg)
}

func (d *between) tick() {
	if d.left == 0 {
		return
	}
	if d.left--; d.left == 0 {
		done := make(chan struct{})
		go func() { defer close(done); d.do() }() // who makes the file holds locks; others do not
		<-done
	}
}

func (d *between) OpenFile(name string, flag int) (journal.File, error) {
	// The journal makes segments in the background, whenever it comes to it; and
	// what is known of a password file is locked while it is written.
	own := path.Base(name) == enforceName || path.Base(name) == passwordName+".new"
	if flag&os.O_CREATE != 0 && !own && !strings.HasPrefix(name, journalDir+"/") {
		d.tick()
	}
	return d.FS.OpenFile(name, flag)
}

func (d *between) Mkdir(name string) error { d.tick(); return d.FS.Mkdir(name) }

// walker thinks of strides.
type walker struct {
	*rand.Rand
	boxes, mails int // made so far
}

// next gives a stride that the store can do as it is now.
func (w *walker) next(s *Store) (stride, error) {
	views, err := viewsOf(s, "alice")
	if err != nil {
		return stride{}, err
	}
	switch dice := w.Intn(10); {
	case dice < 2:
		return unseen(settleSome(1 + w.Intn(6))), nil
	case dice < 3:
		return unseen([]step{checkpointNow, checkpointBegins, checkpointBegins, checkpointEnds}[w.Intn(4)]), nil
	case dice < 4:
		return amid(1+w.Intn(12), w.some(s, views)), nil
	case dice < 6:
		if op := w.mailbox(acct("alice"), views); op != nil {
			return changing(ops(fmt.Sprintf("%T %+v", op, op), op)), nil
		}
	}
	return changing(w.some(s, views)), nil
}

// some is something that is done to messages, or to what is queued.
func (w *walker) some(s *Store, views []*storage.View) step {
	if w.Intn(3) == 0 {
		return w.queue(s)
	}
	op := w.message(acct("alice"), views)
	return ops(fmt.Sprintf("%T %+v", op, op), op)
}

// queue takes a message that leaves, with what stays or without, or does
// something to one.
func (w *walker) queue(s *Store) step {
	var all []storage.QueueEntry
	s.Watch(func(e storage.QueueEntry) { all = append(all, e) })()
	dice := w.Intn(10)
	if len(all) == 0 || dice < 4 {
		w.mails++
		c := mail(fmt.Sprintf("mail %d", w.mails), []int{100, 5000, 5000, 3000}[w.Intn(4)])
		list := []storage.Op{leave(c, "bob", "carol"), leave(c, "dave"), storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: c}}
		return ops(fmt.Sprintf("queue mail %d, %d operations", w.mails, 1+dice%3), list[:1+dice%3]...)
	}
	e := all[w.Intn(len(all))]
	switch {
	case dice < 6:
		return done(e.ID, []string{"bob", "carol", "dave"}[w.Intn(3)])
	case dice < 8:
		return done(e.ID, "bob", "carol", "dave")
	}
	return ops(fmt.Sprintf("mark %d", e.ID), storage.MarkQueued{ID: e.ID, Set: storage.QueueMarks(w.Intn(4)), Unset: storage.QueueHeld})
}

// mailbox makes, renames or removes one; nil when it does not come to it.
func (w *walker) mailbox(a storage.Account, views []*storage.View) storage.Op {
	v := views[w.Intn(len(views))]
	w.boxes++
	name := fmt.Sprintf("box%d", w.boxes)
	switch dice := w.Intn(10); {
	case dice < 4 && len(views) < 5:
		return storage.CreateMailbox{Account: a, Name: name}
	case dice < 9 && v.Name != storage.InboxName:
		return storage.RenameMailbox{Account: a, From: v.Name, To: name}
	case v.Name != storage.InboxName:
		return storage.DeleteMailbox{Account: a, Name: v.Name}
	}
	return nil
}

// message appends, flags, removes, copies or moves.
func (w *walker) message(a storage.Account, views []*storage.View) storage.Op {
	v, to := views[w.Intn(len(views))], views[w.Intn(len(views))].Name
	dice := w.Intn(10)
	if len(v.Messages) == 0 || dice < 4 {
		w.mails++
		return storage.Append{Account: a, Mailbox: v.Name, Content: mail(fmt.Sprintf("mail %d", w.mails), 100)}
	}
	from := w.Intn(len(v.Messages))
	var uids []storage.UID
	for _, m := range v.Messages[from : from+1+w.Intn(min(3, len(v.Messages)-from))] {
		uids = append(uids, m.UID)
	}
	switch {
	case dice < 5:
		return storage.SetFlags{Account: a, Mailbox: v.Name, UIDs: uids, Flags: storage.Flags(w.Intn(4))}
	case dice < 6:
		return storage.Expunge{Account: a, Mailbox: v.Name, UIDs: uids}
	case dice < 8 || v.Name == to:
		return storage.Copy{Account: a, Mailbox: v.Name, Dest: to, UIDs: uids}
	}
	return storage.Move{Account: a, Mailbox: v.Name, Dest: to, UIDs: uids}
}

func viewsOf(s *Store, local string) (views []*storage.View, err error) {
	all, err := s.Mailboxes(ctx, acct(local))
	if err != nil {
		return nil, err
	}
	for _, info := range all {
		if info.ID == (storage.MailboxID{}) {
			continue // only subscribed to
		}
		m, err := s.Open(ctx, acct(local), info.Name)
		if err != nil {
			return nil, err
		}
		v, err := m.View(ctx)
		m.Close()
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// settleSome does what is urgent, and gives files to the oldest n items.
func settleSome(n int) step {
	return step{fmt.Sprintf("settle %d", n), func(s *Store) error {
		s.disk.Lock()
		defer s.disk.Unlock()
		if err := joined(s.settler.doUrgent()); err != nil {
			return err
		}
		s.settler.mu.Lock()
		n := min(n, len(s.settler.fresh))
		jobs := slices.Clone(s.settler.fresh[:n])
		s.settler.fresh = slices.Clone(s.settler.fresh[n:])
		s.settler.mu.Unlock()
		for i := range jobs {
			if err := s.settle(&jobs[i]); err != nil {
				s.settler.putBack(jobs[i:])
				return err
			}
		}
		return nil
	}}
}

// walkAround goes through some lives and gives what was done, and why it ended.
func walkAround(seed int64) (path []stride, err error) {
	w := &walker{Rand: rand.New(rand.NewSource(seed))}
	disk := faultfs.New()
	s, err := openBetween(disk)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.journal.Close()) }()
	if err := login("alice").do(s); err != nil {
		return nil, err
	}
	for range 4 {
		for left := 5 + w.Intn(20); left >= 0; left-- {
			var st stride
			if left > 0 {
				if st, err = w.next(s); err != nil {
					return path, err
				}
			} else {
				st = kill(1+w.Intn(40), []step{settleNow, checkpointNow, checkpointEnds}[w.Intn(3)])
			}
			path = append(path, st)
			n, err := st.do(s, disk)
			if n != nil {
				s = n
			}
			if err != nil {
				return path, err
			}
		}
	}
	return path, nil
}

// again goes the same way, over a new disk, and passes over what is not
// possible there. It gives errLost or nil.
func again(path []stride) error {
	disk := faultfs.New()
	s, err := openBetween(disk)
	if err != nil {
		return err
	}
	defer func() { _ = s.journal.Close() }()
	if err := login("alice").do(s); err != nil {
		return err
	}
	for _, st := range path {
		n, err := st.do(s, disk)
		if errors.Is(err, errLost) {
			return err
		}
		if n != nil {
			s = n
		}
	}
	return nil
}

// shorten leaves out what a loss does not need.
func shorten(path []stride) []stride {
	for size := len(path) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(path); {
			if less := slices.Delete(slices.Clone(path), i, i+size); again(less) != nil {
				path, i = less, 0
			} else {
				i++
			}
		}
	}
	return path
}

// Whatever is done in whatever order, and wherever the process is killed,
// nothing acknowledged is lost. BARID_SOAK multiplies the walks.
func TestWalksLoseNothing(t *testing.T) {
	walks := 60
	if n, err := strconv.Atoi(os.Getenv("BARID_SOAK")); err == nil {
		walks *= max(n, 1)
	}
	for seed := range int64(walks) {
		path, err := walkAround(seed)
		if err == nil {
			continue
		}
		if again(path) != nil {
			path = shorten(path)
			err = again(path)
		}
		var names strings.Builder
		for _, st := range path {
			fmt.Fprintf(&names, "  %s\n", st.name)
		}
		t.Fatalf("walk %d:\n%s%v", seed, names.String(), err)
	}
}

// A copy that is made while a checkpoint is on its way has a file before the
// record that brought its content goes.
func TestCopyMadeDuringACheckpoint(t *testing.T) {
	a := acct("alice")
	brought := ops("append", storage.Append{Account: a, Mailbox: "INBOX", Content: mail("x", 100)})
	copied := ops("copy", storage.Copy{Account: a, Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{1}})
	source := ops("expunge", storage.Expunge{Account: a, Mailbox: "INBOX", UIDs: []storage.UID{1}})
	for file := range 10 {
		for left := range 6 {
			if err := again([]stride{changing(brought), amid(1+file, copied), changing(source), kill(1+left, settleNow)}); err != nil {
				t.Fatal(err)
			}
			both := step{"copy and expunge", func(s *Store) error { return errors.Join(copied.do(s), source.do(s)) }}
			if err := again([]stride{changing(brought), amid(1+file, both), kill(1+left, settleNow)}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
