package local

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"barid/internal/journal/faultfs"
	"barid/storage"
)

// A walk of two goes with two accounts, which end and are born anew, come into
// trouble and out of it, and whose directories are removed by hand, while a
// checkpoint waits for its lull. It is killed, or the power is cut.

// pair is one on its way.
type pair struct {
	walker
	s      *Store
	disk   *faultfs.FS
	broken bool // the files of alice cannot be written
	path   []string
}

var bothOfThem = []string{"alice", "bob"}

func (p *pair) note(format string, args ...any) {
	p.path = append(p.path, fmt.Sprintf(format, args...))
}

// alive lists those that live.
func (p *pair) alive() (list []string) {
	for _, local := range bothOfThem {
		if _, err := p.s.Lookup(ctx, at(local)); err == nil {
			list = append(list, local)
		}
	}
	return list
}

// try does a step that may be refused while alice's files are broken, or when
// its account has just ended.
func (p *pair) try(st step) error {
	err := st.do(p.s)
	p.note("%s: %v", st.name, err)
	if err == nil || errors.Is(err, errTrouble) || errors.Is(err, errBury) || errors.Is(err, storage.ErrNoAccount) || p.broken && theirs(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", st.name, err)
}

// still does a step that changes nothing that is seen.
func (p *pair) still(st step, lenient bool) error {
	was, err := look(p.s, "", "")
	if err != nil {
		return err
	}
	err = st.do(p.s)
	p.note("%s: %v", st.name, err)
	if err != nil && !lenient {
		return fmt.Errorf("%s: %w", st.name, err)
	}
	_, err = look(p.s, st.name, was)
	return err
}

var roundNow = step{"round", func(s *Store) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.settler.round()
}}

// op gives something to do to a living account, which needs nobody to be buried.
func (p *pair) op(local string) (step, error) {
	a := acct(local)
	switch p.Intn(12) {
	case 0:
		return ops("token of "+local, storage.SetEntry{Account: a, Mailbox: "INBOX", Name: deviceToken, Value: fmt.Appendf(nil, "%d", 1000+p.Intn(9000))}), nil
	case 1:
		return ops("subscription of "+local, storage.Subscribe{Account: a, Name: fmt.Sprintf("box%d", p.Intn(4)), Remove: p.Intn(3) == 0}), nil
	case 2:
		return ops("end of "+local, storage.DeleteAccount{Account: a}), nil
	case 3, 4:
		p.mails++
		c := mail(fmt.Sprintf("mail %d", p.mails), []int{100, 5000, 3000}[p.Intn(3)])
		var list []storage.Op
		for _, l := range p.alive() {
			list = append(list, storage.Deliver{To: at(l), Content: c})
		}
		if p.Intn(2) == 0 {
			list = append(list, leave(c, "dave"))
		}
		return ops(fmt.Sprintf("deliver mail %d to all, %d", p.mails, len(list)), list...), nil
	case 5:
		return p.queue(p.s), nil
	}
	views, err := viewsOf(p.s, local)
	if err != nil {
		return step{}, err
	}
	op := p.message(a, views)
	return ops(fmt.Sprintf("%s: %T %+v", local, op, op), op), nil
}

func (p *pair) next() error {
	living := p.alive()
	switch dice := p.Intn(40); {
	case dice < 4:
		return p.still(settleSome(1+p.Intn(6)), p.broken)
	case dice < 6:
		return p.still(roundNow, true)
	case dice < 8:
		return p.still(checkpointNow, false)
	case dice < 11:
		return p.still(checkpointBegins, false)
	case dice < 13:
		return p.still(checkpointEnds, false)
	case dice < 15:
		p.broken = !p.broken
		p.note("alice's files are broken: %v", p.broken)
		p.shatter()
		return nil
	case dice < 16:
		return p.byHand(living)
	case dice < 19 && len(living) > 0:
		return p.amid(living)
	case dice < 22 || len(living) == 0:
		for _, local := range bothOfThem {
			if _, err := p.s.Lookup(ctx, at(local)); errors.Is(err, storage.ErrNoAccount) {
				return p.try(login(local))
			}
		}
	case dice < 26:
		local := living[p.Intn(len(living))]
		views, err := viewsOf(p.s, local)
		if err != nil {
			return err
		}
		if op := p.mailbox(acct(local), views); op != nil {
			return p.try(ops(fmt.Sprintf("%s: %T %+v", local, op, op), op))
		}
	}
	if len(living) == 0 {
		return nil
	}
	st, err := p.op(living[p.Intn(len(living))])
	if err != nil {
		return err
	}
	return p.try(st)
}

// shatter lets the disk do as broken says.
func (p *pair) shatter() {
	if !p.broken {
		p.disk.Break(nil)
		return
	}
	p.disk.Break(func(op faultfs.Op) error {
		if strings.HasPrefix(op.Name, alicesDir) {
			return syscall.EACCES
		}
		return nil
	})
}

// byHand removes the directory of an account, if it has one, and lets the
// store notice.
func (p *pair) byHand(living []string) error {
	if len(living) == 0 || p.broken {
		return nil
	}
	local := living[p.Intn(len(living))]
	p.s.mu.Lock()
	a := p.s.accounts[at(local)]
	p.s.mu.Unlock()
	if a == nil || a.trouble.Load() != nil || !a.pw.onDisk() {
		return nil
	}
	if err := p.disk.RemoveAll(a.dir()); err != nil {
		return err
	}
	p.s.disk.Lock()
	defer p.s.disk.Unlock()
	p.note("%s's directory is removed: %v", local, p.s.noticeGone(a))
	return nil
}

// amid does something in the midst of the end of a checkpoint.
func (p *pair) amid(living []string) error {
	st, err := p.op(living[p.Intn(len(living))])
	if err != nil {
		return err
	}
	n := 1 + p.Intn(12)
	end := []step{checkpointNow, checkpointEnds, checkpointEnds}[p.Intn(3)]
	d := p.s.fs.(*between)
	var was string
	d.left, d.do = n, func() {
		if err = p.try(st); err == nil {
			was, err = look(p.s, "", "")
		}
	}
	failed := end.do(p.s)
	p.note("that was at file %d of %s: %v", n, end.name, failed)
	if d.left > 0 {
		d.left = 0
		d.do()
	}
	if err = errors.Join(err, failed); err == nil {
		_, err = look(p.s, "amid "+st.name, was)
	}
	return err
}

// crash kills the process in the midst of something, and cuts the power perhaps.
func (p *pair) crash() error {
	was, err := look(p.s, "", "")
	if err != nil {
		return err
	}
	n := 1 + p.Intn(60)
	st := []step{settleNow, checkpointNow, checkpointEnds, checkpointEnds}[p.Intn(4)]
	cut := p.Intn(2) == 0
	p.disk.StopAt(p.disk.Ops() + n)
	err = st.do(p.s)
	p.note("killed %d operations into %s, cut %v: %v", n, st.name, cut, err)
	_ = p.s.journal.Close()
	p.disk.StopAt(0)
	p.disk.Break(nil)
	p.broken = false
	p.disk.Revive()
	if cut {
		p.disk = p.disk.Cut(p.Rand)
	}
	if p.s, err = openBetween(p.disk); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	_, err = look(p.s, "the start", was)
	return err
}

// goAround goes through some lives.
func (p *pair) goAround() (err error) {
	if p.s, err = openBetween(p.disk); err != nil {
		return err
	}
	defer func() { _ = p.s.journal.Close() }()
	if _, err := run(p.s, []step{login("alice"), login("bob")}); err != nil {
		return err
	}
	for range 4 {
		for range 10 + p.Intn(30) {
			if err := p.next(); err != nil {
				return err
			}
		}
		if err := p.crash(); err != nil {
			return err
		}
	}
	return stopped(p.s, p.disk)
}

// Whatever two accounts come to while a checkpoint waits for its lull, nothing
// acknowledged is lost. BARID_SOAK multiplies the walks.
func TestWalksOfTwoLoseNothing(t *testing.T) {
	walks := 60
	if n, err := strconv.Atoi(os.Getenv("BARID_SOAK")); err == nil {
		walks *= max(n, 1)
	}
	for seed := range int64(walks) {
		p := pair{walker: walker{Rand: rand.New(rand.NewSource(seed))}, disk: faultfs.New()}
		if err := p.goAround(); err != nil {
			t.Fatalf("walk %d:\n  %s\n%v", seed, strings.Join(p.path, "\n  "), err)
		}
	}
}
