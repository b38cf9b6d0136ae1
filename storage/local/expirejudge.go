package local

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"barid/smtp"
	"barid/storage"
	"barid/storage/maildir"
)

// ages are the times before which things are due; zero where nothing is.
type ages struct {
	now                   time.Time
	mail, large, accounts time.Time
}

func agesOf(p storage.ExpiryPolicy, now time.Time) ages {
	before := func(d time.Duration) time.Time {
		if d <= 0 {
			return time.Time{}
		}
		return now.Add(-d)
	}
	return ages{now: now, mail: before(p.Mail), large: before(p.Large), accounts: before(p.Accounts)}
}

// message tells whether a message is due. It takes two moments in whole
// seconds for what they may be at most: none leaves too soon.
func (g *ages) message(saved storage.Time, size int64, fetched bool) bool {
	return isBefore(saved, g.mail) || fetched && size > storage.LargeSize && isBefore(saved, g.large)
}

// account tells whether an account is due.
func (g *ages) account(login time.Time) bool { return !g.accounts.IsZero() && login.Before(g.accounts) }

func isBefore(t storage.Time, due time.Time) bool { return !due.IsZero() && t.Time().Before(due) }

// row tells whether something of an account may be due, by its row.
func (g *ages) row(r standing) bool {
	return r.oldest != 0 && isBefore(r.oldest, g.mail) || r.large != 0 && isBefore(r.large, g.large) ||
		g.account(time.Unix(int64(r.login)*86400, 0)) || g.sweep(r)
}

// sweep tells whether files that are no messages may be due: they are looked
// for as often as mail expires.
func (g *ages) sweep(r standing) bool {
	return !g.mail.IsZero() && time.Unix(int64(r.looked)*86400, 0).Before(g.mail)
}

// verdict is what a look at an account gives.
type verdict struct {
	alive    bool // it has a password, so it is an account
	login    time.Time
	row      standing
	messages int64 // that are due
	octets   int64
	all      int64
	strays   int64
}

// judgment is a look on its way.
type judgment struct {
	s    *Store
	ages *ages
	v    verdict
}

func (j *judgment) message(saved storage.Time, size int64, fetched bool) {
	j.v.row.note(saved, size)
	j.v.all++
	if j.ages.message(saved, size, fetched) {
		j.v.messages++
		j.v.octets += size
	}
}

// judge looks at an account without bringing it into memory, and without any
// change to what lies on disk.
func (s *Store) judge(addr smtp.Address, g *ages) (verdict, error) {
	j := &judgment{s: s, ages: g}
	a, err := s.hookKnown(addr)
	if err != nil {
		return verdict{}, err
	}
	if a != nil {
		defer s.release(a)
		j.memory(a)
	} else if err := j.files(addr); err != nil {
		return verdict{}, err
	}
	j.v.row.login, j.v.row.looked = dayNumber(j.v.login), dayNumber(g.now)
	return j.v, nil
}

// hookKnown acquires an account that is in memory; nil when it is not.
func (s *Store) hookKnown(addr smtp.Address) (*account, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, storage.ErrClosed
	}
	known := s.accounts[addr] != nil
	s.mu.Unlock()
	if !known {
		return nil, nil
	}
	return s.acquire(addr)
}

// memory judges the newest state of an account.
func (j *judgment) memory(a *account) {
	st := a.now.Load()
	if !st.alive {
		return // what may lie in its directory is judged when nobody knows it
	}
	j.v.alive = true
	j.v.login = a.pw.lastLogin(j.s.clock.now())
	for _, bs := range st.boxes {
		for i := range bs.view.Messages {
			m := &bs.view.Messages[i]
			j.message(m.Saved, m.Size, fetched(m, bs.items[i]))
		}
	}
}

// files judges what lies on disk.
func (j *judgment) files(addr smtp.Address) error {
	dir := accountDir(addr)
	names, folders, err := j.s.list(dir)
	if err != nil {
		return err
	}
	if !slices.Contains(names, passwordName) {
		return nil
	}
	info, err := j.s.fs.Stat(dir + "/" + passwordName)
	if err != nil {
		return err
	}
	j.v.alive, j.v.login = true, info.ModTime()
	if err := j.mailbox(maildir.At(j.s.fs, dir), names); err != nil {
		return err
	}
	for _, folder := range folders {
		sub := dir + "/." + folder
		names, _, err := j.s.list(sub)
		if err == nil {
			err = j.mailbox(maildir.At(j.s.fs, sub), names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mailbox judges one by its snapshot, and where that is not the whole truth
// by its files too. names is what lies in its directory.
func (j *judgment) mailbox(dir maildir.Dir, names []string) error {
	sn, err := j.snapshot(dir, names)
	if err != nil {
		return err
	}
	if sn != nil && sn.changed[0] != 0 && sn.changed == j.s.dirTimes(dir) {
		for i := range sn.messages {
			m := &sn.messages[i]
			j.message(m.Saved, m.Size, fetched(m, sn.items[i]))
		}
		return nil
	}
	listed, err := listFiles(dir)
	if err != nil {
		return err
	}
	if sn != nil {
		for i := range sn.messages {
			m := &sn.messages[i]
			base := sn.items[i].base(m)
			if f, ok := listed[base]; ok {
				j.message(m.Saved, m.Size, f.Sub == maildir.Cur)
				delete(listed, base)
			}
		}
	}
	for _, f := range listed {
		n, _ := maildir.ParseName(f.Name)
		saved, size := n.Received(), n.Size
		if saved.IsZero() || size < 0 {
			info, err := dir.Stat(f.Sub, f.Name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if saved.IsZero() {
				saved = info.ModTime()
			}
			if size < 0 {
				size = info.Size()
			}
		}
		j.message(storage.TimeOf(saved), size, f.Sub == maildir.Cur)
	}
	return nil
}

// snapshot reads the snapshot that load would take; nil when there is none
// that can be read.
func (j *judgment) snapshot(dir maildir.Dir, names []string) (*snapshot, error) {
	newest, there, number := "", false, uint64(0)
	for _, name := range names {
		n, ok := checkpointOf(name, snapshotName)
		if ok && n <= j.s.trimmed.Load() && (!there || n > number) {
			newest, there, number = name, true, n
		}
	}
	if !there {
		return nil, nil
	}
	text, err := j.s.readFile(dir.Path()+"/"+newest, maxSnapshot)
	if err != nil {
		return nil, err
	}
	sn, err := decodeSnapshot(text)
	if errors.Is(err, errSnapshot) {
		return nil, nil
	}
	return sn, err
}

// strays finds the files in the directories of mailboxes that are no messages
// and have not changed since mail of that age was due: what crashes and other
// programs left, in tmp mostly. With remove they go. Store.disk is held then.
func (s *Store) strays(addr smtp.Address, g *ages, remove bool) (n int64, err error) {
	dir := accountDir(addr)
	_, folders, err := s.list(dir)
	if err != nil {
		return 0, err
	}
	dirs := []string{dir}
	for _, folder := range folders {
		dirs = append(dirs, dir+"/."+folder)
	}
	for _, box := range dirs {
		for _, sub := range []string{maildir.Cur, maildir.New, maildir.Tmp} {
			found, err := s.straysIn(box+"/"+sub, sub == maildir.Tmp, g, remove)
			n += found
			if err != nil {
				return n, fmt.Errorf("sweep a mailbox: %w", err)
			}
		}
	}
	return n, nil
}

func (s *Store) straysIn(dir string, all bool, g *ages, remove bool) (n int64, err error) {
	entries, err := s.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if _, message := maildir.ParseName(e.Name()); !e.Type().IsRegular() || message && !all {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(g.mail) {
			continue
		}
		if err == nil && remove {
			err = s.fs.Remove(dir + "/" + e.Name())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		n++
	}
	return n, nil
}

// maildirsizeName is a cache of the quota that other programs keep. It is
// wrong as soon as we change something.
const maildirsizeName = "maildirsize"

// dropMaildirsize removes it when it is seen.
func (s *Store) dropMaildirsize(dir string, names []string) {
	if !slices.Contains(names, maildirsizeName) {
		return
	}
	if err := s.fs.Remove(dir + "/" + maildirsizeName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a maildirsize is left behind", "part", "storage", "error", err)
	}
}
