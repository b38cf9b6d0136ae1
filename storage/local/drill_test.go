package local

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// drill is what the power is cut in: the lives of a store on one disk, each
// ended as by SIGKILL.
type drill struct {
	name    string
	prepare func(disk *faultfs.FS) error // what the disk has before, flushed
	lives   []life
	check   func(s *Store) error // whatever else must be so after all
}

// life is what one process does, and what happened to the disk before it: that
// counts as a step, too.
type life struct {
	before func(disk *faultfs.FS) error // flushed, too
	steps  []step
}

func (d *drill) steps() (all []step) {
	for _, l := range d.lives {
		all = append(all, l.steps...)
	}
	return all
}

// seal flushes what a hand did to a disk.
func seal(disk *faultfs.FS, errs ...error) error {
	return errors.Join(append(errs, disk.SyncFS())...)
}

// puts makes a file with the directories above it.
func puts(disk *faultfs.FS, name, text string) error {
	for dir := range parents(name) {
		if err := disk.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Close())
}

func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range name {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

const alicesDir = "mail/relay.test/alice@relay.test"

// drills has one drill for each path by which something gets on disk.
func drills() []drill {
	few := []step{
		ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}, storage.Deliver{To: at("alice"), Content: mail("two", 5000)}),
		ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
		ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}}),
		ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}, Flags: storage.FlagSeen}),
		ops("token", storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("1111")}),
		settleNow,
		checkpointNow,
	}
	goOn := func(box string, uid storage.UID) []step {
		return []step{
			ops("deliver on", storage.Deliver{To: at("alice"), Content: mail("three", 300)}),
			ops("flags on", storage.SetFlags{Account: acct("alice"), Mailbox: box, UIDs: []storage.UID{uid}, Flags: storage.FlagAnswered}),
			ops("copy on", storage.Copy{Account: acct("alice"), Mailbox: box, Dest: box, UIDs: []storage.UID{uid}}),
			settleNow,
			ops("expunge on", storage.Expunge{Account: acct("alice"), Mailbox: box, UIDs: []storage.UID{uid}}),
			settleNow,
			checkpointNow,
			ops("deliver on", storage.Deliver{To: at("alice"), Content: mail("four", 400)}),
			settleNow,
		}
	}
	return append(append(expiryDrills(), queueDrills()...), []drill{
		{name: "everything", lives: []life{{steps: workload()}}},
		{
			name: "a checkpoint that waits for its lull",
			lives: []life{{steps: []step{
				login("alice"), login("bob"),
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("one", 100)}, storage.Deliver{To: at("alice"), Content: mail("two", 5000)}),
				ops("mailbox", storage.CreateMailbox{Account: acct("alice"), Name: "A"}),
				ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "A", UIDs: []storage.UID{1}}),
				ops("deliver", storage.Deliver{To: at("bob"), Content: mail("three", 300)}),
				ops("token", storage.SetEntry{Account: acct("bob"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("2222")}),
				checkpointBegins,
				ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}}),
				ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{2}}),
				ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{2}}),
				ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "A", UIDs: []storage.UID{1}, Flags: storage.FlagSeen}),
				ops("rename", storage.RenameMailbox{Account: acct("alice"), From: "A", To: "B"}),
				ops("token", storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("1111")}),
				ops("end", storage.DeleteAccount{Account: acct("bob")}),
				checkpointEnds,
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("four", 400)}),
				checkpointBegins,
				settleNow,
				ops("remove", storage.DeleteMailbox{Account: acct("alice"), Name: "B"}),
				ops("deliver", storage.Deliver{To: at("alice"), Content: mail("five", 500)}),
				checkpointEnds,
				checkpointNow,
			}}},
		},
		{
			name: "adoption",
			prepare: func(disk *faultfs.FS) error {
				return seal(disk,
					puts(disk, alicesDir+"/password", hashed("a long password")),
					puts(disk, alicesDir+"/metadata.json", `{"devicetoken": {"1111": 1790000000}}`),
					puts(disk, alicesDir+"/cur/1775324677.M448978P3029757.exam,S=4,W=5:2,Sa", "seen"),
					puts(disk, alicesDir+"/new/1775324678.M1P1.exam,S=5,W=6", "fresh"),
					puts(disk, alicesDir+"/new/1775324600.M1P2.exam", "unlisted"),
					puts(disk, alicesDir+"/dovecot-uidlist", "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n25006 :1775324677.M448978P3029757.exam,S=4,W=5\n25017 :1775324678.M1P1.exam,S=5,W=6\n"),
					puts(disk, alicesDir+"/.DeltaChat/cur/1775324679.M1P3.exam,S=5:2,F", "below"),
					puts(disk, alicesDir+"/subscriptions", "DeltaChat\n"))
			},
			lives: []life{{steps: append([]step{login("alice"), login("bob")}, goOn("INBOX", 25017)...)}},
		},
		{
			name: "rebuild",
			lives: []life{
				{steps: append([]step{login("alice")}, few...)},
				{
					before: func(disk *faultfs.FS) error {
						return seal(disk, disk.Remove(alicesDir+"/"+snapshotName), disk.Remove(alicesDir+"/dovecot-uidlist"))
					},
					steps: goOn("INBOX", 1),
				},
			},
		},
		{
			name: "a lost journal",
			lives: []life{
				{steps: append([]step{login("alice")}, few...)},
				{
					before: func(disk *faultfs.FS) error { return seal(disk, disk.RemoveAll(journalDir)) },
					steps:  goOn("A", 1),
				},
			},
		},
		{
			name: "a removed password file",
			lives: []life{
				{steps: append([]step{login("alice")}, few...)},
				{
					before: func(disk *faultfs.FS) error { return seal(disk, disk.Remove(alicesDir+"/password")) },
					steps:  append([]step{login("alice")}, goOn("INBOX", 1)...),
				},
			},
		},
		{
			name: "counters of the first version",
			prepare: func(disk *faultfs.FS) error {
				var e encoder
				e.b = append(e.b, countersV1...)
				e.number(2_000_000_000)
				return seal(disk, puts(disk, countersName, string(sealed(e.b))))
			},
			lives: []life{{steps: append([]step{login("alice")}, few...)}},
			check: func(s *Store) error {
				if v := s.nextValidity(); v <= 2_000_000_000 {
					return fmt.Errorf("the next UIDVALIDITY is %d", v)
				}
				return nil
			},
		},
		{
			name: "flags of an operator",
			lives: []life{{steps: []step{
				login("alice"), login("bob"),
				freeze("alice", true), settleNow,
				ops("deliver", storage.Deliver{To: at("bob"), Content: mail("one", 100)}),
				freeze("bob", true), freeze("alice", false),
				registration(false), checkpointNow, registration(true), registration(false), settleNow,
				ops("token", storage.SetEntry{Account: acct("alice"), Mailbox: "INBOX", Name: deviceToken, Value: []byte("1111")}),
				ops("end", storage.DeleteAccount{Account: acct("bob")}), settleNow,
			}}},
		},
		{
			name: "large content",
			lives: []life{{steps: []step{
				login("alice"),
				ops("append", storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: mail("large", inlineMax+1)}),
				draftOf("draft", inlineMax+1000),
				settleNow,
				ops("copy", storage.Copy{Account: acct("alice"), Mailbox: "INBOX", Dest: "INBOX", UIDs: []storage.UID{1}}),
				draftOf("another", inlineMax+5000),
				ops("expunge", storage.Expunge{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1, 4}}),
				settleNow,
				checkpointNow,
				draftOf("last", inlineMax+1),
			}}},
		},
	}...)
}

func freeze(local string, frozen bool) step {
	return step{fmt.Sprint("freeze ", local, " ", frozen), func(s *Store) error { return s.Freeze(ctx, acct(local), frozen) }}
}

func registration(open bool) step {
	return step{fmt.Sprint("registration ", open), func(s *Store) error { return s.SetRegistration(ctx, open) }}
}

// draftOf delivers content that comes in pieces.
func draftOf(name string, size int) step {
	return step{"draft " + name, func(s *Store) error {
		d, err := s.Draft(ctx, -1)
		if err != nil {
			return err
		}
		defer d.Discard()
		text := *mail(name, size).(*octets)
		for piece := range slices.Chunk([]byte(text), 100_000) {
			if _, err := d.Write(piece); err != nil {
				return err
			}
		}
		return ops(name, storage.Deliver{To: at("alice"), Content: d}).do(s)
	}}
}

// witness is what was promised in a run of a drill.
type witness struct {
	done   int   // steps acknowledged
	ids    idKey // of the IDs that were shown
	err    error // that ended it
	before bool  // it ended before a life: nothing can be said then
}

// run does a drill on a disk, until something fails.
func (d *drill) run(disk *faultfs.FS) (w witness) {
	for _, l := range d.lives {
		if l.before != nil {
			if w.err = l.before(disk); w.err != nil {
				w.before = true
				return w
			}
			w.done++
		}
		s, err := openStill(faulty(disk))
		if err != nil {
			w.err = fmt.Errorf("open: %w", err)
			return w
		}
		w.ids = s.ids
		for _, st := range l.steps {
			if err := st.do(s); err != nil {
				w.err = fmt.Errorf("%s: %w", st.name, err)
				break
			}
			w.done++
		}
		if err := s.journal.Close(); w.err == nil && err != nil {
			w.err = err
		}
		if w.err != nil {
			return w
		}
	}
	return w
}

func (d *drill) disk() (*faultfs.FS, error) {
	disk := faultfs.New()
	if d.prepare != nil {
		return disk, d.prepare(disk)
	}
	return disk, nil
}

// shown is a dump, with what operators set by hand, and with the mail of
// accounts that have no life any more: set aside already, or not yet.
func shown(s *Store, passwords bool) (string, error) {
	text, err := dump(s, passwords)
	if err != nil {
		return "", err
	}
	for _, local := range []string{"alice", "bob"} {
		if may, err := s.MayMail(ctx, acct(local)); err == nil && !may {
			text += local + " is frozen\n"
		}
	}
	if open, err := s.Registration(ctx); err != nil || !open {
		text += fmt.Sprintf("registration is closed, %v\n", err)
	}
	var walk func(dir string) error
	var aside []string
	walk = func(dir string) error {
		entries, err := s.fs.ReadDir(dir)
		for _, e := range entries {
			if e.IsDir() {
				err = errors.Join(err, walk(dir+"/"+e.Name()))
			} else if strings.HasSuffix(dir, "/cur") || strings.HasSuffix(dir, "/new") {
				aside = append(aside, path.Base(dir)+"/"+e.Name())
			}
		}
		return err
	}
	dirs := []string{removedDir}
	if strings.Contains(text, "alice: none\n") {
		dirs = append(dirs, alicesDir)
	}
	for _, dir := range dirs {
		if err := walk(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	slices.Sort(aside)
	aside = slices.Compact(aside) // a directory on its way may be in both places
	return text + strings.Join(aside, "\n"), nil
}

// expected gives what a store shows before any step of a drill and after each,
// and the operations of the disk.
func (d *drill) expected(passwords bool) (dumps []string, log []faultfs.Op, err error) {
	watched := *d
	watched.lives = nil
	look := step{"look", func(s *Store) error {
		text, err := shown(s, passwords)
		dumps = append(dumps, text)
		return err
	}}
	for i, l := range d.lives {
		steps := []step{}
		if i == 0 || l.before != nil {
			steps = append(steps, look)
		}
		for _, st := range l.steps {
			steps = append(steps, st, look)
		}
		watched.lives = append(watched.lives, life{l.before, steps})
	}
	disk, err := d.disk()
	if err != nil {
		return nil, nil, err
	}
	if w := watched.run(disk); w.err != nil {
		return nil, nil, w.err
	}
	if disk, err = d.disk(); err != nil {
		return nil, nil, err
	}
	w := d.run(disk)
	return dumps, disk.Log(), w.err
}

// holds opens what a cut left and compares it with what was promised. An error
// tells what is wrong.
func (d *drill) holds(w witness, disk *faultfs.FS, dumps []string, passwords bool) error {
	wrong := func(what string, err error) error {
		return fmt.Errorf("after %d steps (%v): %s: %w", w.done, w.err, what, err)
	}
	s, err := openStill(faulty(disk))
	if err != nil {
		return wrong("open", err)
	}
	defer s.journal.Close()
	if w.done > 1 && s.ids != w.ids {
		return wrong("IDs", errors.New("those of all messages are other ones"))
	}
	got, err := shown(s, passwords)
	if err != nil {
		return wrong("look", err)
	}
	next := min(w.done+1, len(dumps)-1)
	if got != dumps[w.done] && got != dumps[next] {
		return wrong("got", fmt.Errorf("\n%s\nwant\n%s\nor\n%s", got, dumps[w.done], dumps[next]))
	}
	if d.check != nil {
		if err := d.check(s); err != nil {
			return wrong("check", err)
		}
	}
	// The store goes on from there, and a clean stop changes nothing.
	if may, err := s.MayMail(ctx, acct("alice")); err == nil && may {
		more := []step{ops("go on", storage.Deliver{To: at("alice"), Content: mail("more", 99)}), settleNow, checkpointNow}
		if _, err := run(s, more); err != nil {
			return wrong("go on", err)
		}
	}
	if err := stopped(s, disk); err != nil {
		return wrong("stop", err)
	}
	return nil
}

// thorough tells whether all is to be tried that can be, which takes minutes.
func thorough() bool { return os.Getenv("BARID_SOAK") != "" }

// sample gives so many of the numbers from 1 to n, or all of them when it is to
// be thorough.
func sample(n, want int) (list []int) {
	if thorough() {
		want = n
	}
	for i := range min(n, want) {
		list = append(list, 1+i*n/min(n, want))
	}
	return list
}

// Wherever the power goes, what was acknowledged is there, and at most the
// one thing more that was under way.
func TestPowerCutAtEveryOperation(t *testing.T) {
	for _, d := range drills() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dumps, log, err := d.expected(true)
			if err != nil {
				t.Fatal(err)
			}
			cuts := sample(len(log), max(25, len(log)/8))
			t.Logf("%d steps, %d operations, cut at %d of them", len(d.steps()), len(log), len(cuts))
			for _, n := range cuts {
				disk, err := d.disk()
				if err != nil {
					t.Fatal(err)
				}
				disk.StopAt(n)
				w := d.run(disk)
				if w.before {
					continue
				}
				for seed := range int64(2) {
					if err := d.holds(w, disk.Cut(rand.New(rand.NewSource(int64(n)*7+seed))), dumps, true); err != nil {
						t.Fatalf("operation %d %v, outcome %d: %v", n, log[n-1], seed, err)
					}
				}
			}
		})
	}
}

// What a store shows after the death of its process stays, whatever becomes of
// the power then.
func TestPowerCutAfterAKill(t *testing.T) {
	for _, d := range drills() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dumps, log, err := d.expected(false)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range sample(len(log), 40) {
				disk, err := d.disk()
				if err == nil {
					err = d.killAndCut(disk, n, int64(n), dumps)
				}
				if err != nil {
					t.Fatalf("operation %d %v: %v", n, log[n-1], err)
				}
			}
		})
	}
}

// handMade are the lines of shown that tell of no record.
var handMade = regexp.MustCompile(`is frozen|registration is closed`)

// killAndCut kills the process at operation n, starts anew, and cuts the power.
func (d *drill) killAndCut(disk *faultfs.FS, n int, seed int64, dumps []string) error {
	disk.StopAt(n)
	w := d.run(disk)
	if w.before {
		return nil
	}
	disk.Revive()
	s, err := openStill(faulty(disk))
	if err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	defer s.journal.Close()
	saw, err := shown(s, false)
	if err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	if next := min(w.done+1, len(dumps)-1); saw != dumps[w.done] && saw != dumps[next] {
		return fmt.Errorf("after the kill in step %d (%v): got\n%s\nwant\n%s\nor\n%s", w.done, w.err, saw, dumps[w.done], dumps[next])
	}
	if handMade.MatchString(saw) {
		return nil // files of an operator; who makes them flushes them, or not
	}
	w = witness{ids: s.ids, done: 2}
	return d.holds(w, disk.Cut(rand.New(rand.NewSource(seed))), []string{saw, saw, saw}, false)
}

// A killed process has lost nothing, after any step.
func TestKilledAfterEveryStep(t *testing.T) {
	steps := workload()
	d := drill{lives: []life{{steps: steps}}}
	dumps, _, err := d.expected(false)
	if err != nil {
		t.Fatal(err)
	}
	for k := range len(steps) + 1 {
		disk := faultfs.New()
		d := drill{lives: []life{{steps: steps[:k]}}}
		w := d.run(disk)
		if w.err != nil {
			t.Fatal(w.err)
		}
		if err := d.holds(w, disk, dumps[:k+1], false); err != nil {
			t.Fatal(err)
		}
	}
}

// causes are what a disk says when something fails.
var causes = []error{syscall.EIO, syscall.ENOSPC, syscall.EMLINK, syscall.EPERM, syscall.EXDEV}

// An operation of the disk that fails once is either repaired by trying again,
// or ends all writing; nothing acknowledged is lost.
func TestAnyOperationMayFail(t *testing.T) {
	for _, d := range drills() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dumps, log, err := d.expected(false)
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[faultfs.Kind][]int{}
			for i, op := range log {
				kinds[op.Kind] = append(kinds[op.Kind], i+1)
			}
			for kind, at := range kinds {
				for i, cause := range causes {
					for _, k := range sample(len(at), 3) {
						// Each cause at other operations.
						n := at[(k-1+i)%len(at)]
						if err := d.failAt(n, cause, dumps); err != nil {
							t.Errorf("operation %d %s %v: %v", n, kind, cause, err)
						}
					}
				}
			}
		})
	}
}

// failAt lets one operation fail once.
func (d *drill) failAt(n int, cause error, dumps []string) error {
	disk, err := d.disk()
	if err != nil {
		return err
	}
	disk.FailAt(n, cause)
	done := 0
	for _, l := range d.lives {
		if l.before != nil {
			if l.before(disk) != nil {
				return nil // that was no operation of the store
			}
			done++
		}
		s, err := openTwice(disk)
		if err != nil {
			return err
		}
		for _, st := range l.steps {
			if err = st.do(s); err != nil && !errors.Is(err, storage.ErrReadOnly) {
				if again := st.do(s); again != nil {
					err = fmt.Errorf("%s: %w, and again: %w", st.name, err, again)
				} else {
					err = nil
				}
			}
			if err != nil {
				break
			}
			done++
		}
		if err != nil && !errors.Is(err, storage.ErrReadOnly) {
			return err
		}
		readOnly := s.readOnly.Load()
		_ = s.journal.Close() // tells of the failed flush, or nothing
		if readOnly {
			break
		}
	}
	s, err := openTwice(disk)
	if err != nil {
		return fmt.Errorf("open after %d steps: %w", done, err)
	}
	got, err := shown(s, false)
	if err != nil {
		return fmt.Errorf("look after %d steps: %w", done, err)
	}
	next := min(done+1, len(dumps)-1)
	if comparable(got) != comparable(dumps[done]) && comparable(got) != comparable(dumps[next]) {
		return fmt.Errorf("after %d steps: got\n%s\nwant\n%s\nor\n%s", done, got, dumps[done], dumps[next])
	}
	return stopped(s, disk)
}

// openTwice opens a store whose disk may fail once.
func openTwice(disk *faultfs.FS) (*Store, error) {
	s, err := openStill(faulty(disk))
	if err != nil {
		s, err = openStill(faulty(disk))
	}
	return s, err
}
