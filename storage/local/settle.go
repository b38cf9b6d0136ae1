package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"barid/storage"
	"barid/storage/maildir"
)

// do does an urgent job.
func (s *Store) do(j *job) error {
	if j.q != nil {
		return s.queue.remove(j.q)
	}
	switch j.kind {
	case jobUnlink:
		return s.unlink(j)
	case jobDropBox:
		return s.dropBoxFiles(j.a, j.box)
	case jobWipe:
		j.a.made, j.a.written, j.a.noted = nil, writtenFiles{}, nil
		// In this order: a full disk has room for the name then. Until the name
		// is durable the record is kept, and brings us here again.
		if err := s.fs.RemoveAll(j.a.dir()); err != nil {
			return err
		}
		return s.names.add(j.a.addr, j.box)
	case jobAccount:
		if s.noticeGone(j.a) {
			return nil
		}
		return s.writeAccount(j.a)
	case jobFetched:
		if err := s.markFetched(j); err != nil {
			return err
		}
		s.release(j.a)
	case jobRemove:
		return s.dir(j.a, j.box).Remove(j.file.Sub, j.file.Name)
	}
	return nil
}

// dropBoxFiles removes what is left of a mailbox. Of INBOX the directories
// are the account's.
func (s *Store) dropBoxFiles(a *account, box string) error {
	delete(a.made, box)
	if box == storage.InboxName {
		return nil // jobWipe follows
	}
	return s.fs.RemoveAll(s.dir(a, box).Path())
}

// dir gives the directory of a mailbox.
func (s *Store) dir(a *account, box string) maildir.Dir {
	below, err := maildir.FolderPath(box)
	if err != nil {
		panic("local: a mailbox exists whose name no mailbox can have: " + err.Error())
	}
	return maildir.At(s.fs, path.Join(a.dir(), below))
}

// makeDir makes the directories of a mailbox, once.
func (s *Store) makeDir(a *account, box string) error {
	if a.made[box] {
		return nil
	}
	if err := s.makeAccountDir(a); err != nil {
		return err
	}
	if err := s.dir(a, box).Make(); err != nil {
		return err
	}
	if a.made == nil {
		a.made = map[string]bool{}
	}
	a.made[box] = true
	return nil
}

func (s *Store) makeAccountDir(a *account) error {
	if err := s.fs.Mkdir(a.dir()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make account directory: %w", err)
	}
	return nil
}

// settle gives an item its file, if it lives.
func (s *Store) settle(j *job) error {
	if j.q != nil {
		return s.queue.settle(j.q)
	}
	loc := j.it.loc.Load()
	if loc&(locSettled|locDead) != 0 {
		return nil
	}
	bs := j.a.now.Load().find(j.box)
	if bs == nil {
		return nil // the mailbox is gone, and jobUnlink comes; or it does not show yet
	}
	at, ok := bs.index(j.msg.UID)
	if !ok || bs.items[at] != j.it {
		return nil // expunged, and jobUnlink comes
	}
	if !j.a.made[j.box] && s.noticeGone(j.a) {
		return nil
	}
	if err := s.makeDir(j.a, j.box); err != nil {
		return err
	}
	flags := bs.view.Messages[at].Flags
	want := locOf(loc&locCur != 0, flags) | locSettled
	err := s.writeItem(j, want)
	if errors.Is(err, fs.ErrNotExist) && s.noticeGone(j.a) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody took the directory away, or the content itself is gone.
		delete(j.a.made, j.box)
		if err = s.makeDir(j.a, j.box); err == nil {
			err = s.writeItem(j, want)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.log.Error("the content of a message is gone", "part", "storage", "account", j.a.addr, "uid", uint32(j.msg.UID))
		want = loc | locDead
	} else if err != nil {
		return err
	}
	j.it.loc.Store(want)
	if s.settled++; s.settled%64 == 0 {
		s.settler.announce()
	}
	s.bodies.Lock()
	if c := j.it.content.Load(); c != nil {
		if c.home == nil && want&locDead == 0 {
			c.home = &home{j.a, j.box, j.msg, j.it}
		}
		s.letGo(j.it)
	}
	s.bodies.Unlock()
	return nil
}

// writeItem makes the file of an item under the name that it has at loc.
func (s *Store) writeItem(j *job, loc uint32) error {
	dir := s.dir(j.a, j.box)
	sub, name := j.it.fileName(&j.msg, loc)
	found, replayed := j.a.found[j.it]
	c := j.it.content.Load()
	if c == nil {
		if !replayed {
			return fmt.Errorf("settle message: its content: %w", fs.ErrNotExist)
		}
		return s.useFound(j, dir, found, sub, name)
	}
	if err := s.linkOrWrite(j, c, dir, sub, name); err != nil {
		if replayed && errors.Is(err, fs.ErrNotExist) {
			return s.useFound(j, dir, found, sub, name)
		}
		return err
	}
	if replayed && (found.Sub != sub || found.Name != name) {
		if err := dir.Remove(found.Sub, found.Name); err != nil {
			return err
		}
	}
	delete(j.a.found, j.it)
	return nil
}

// useFound takes the file that an earlier run made: it is the only one there
// is, and was flushed before its source went.
func (s *Store) useFound(j *job, dir maildir.Dir, found maildir.File, sub, name string) error {
	delete(j.a.found, j.it)
	return dir.Move(found.Sub, found.Name, sub, name)
}

// linkOrWrite makes the file: as one more name of another item's file where
// there is one, else from the content.
func (s *Store) linkOrWrite(j *job, c *content, dir maildir.Dir, sub, name string) error {
	s.bodies.Lock()
	mem, staged, from := c.mem, c.staged, c.home
	s.bodies.Unlock()
	if from != nil && from.it != j.it {
		if loc := from.it.loc.Load(); loc&locSettled != 0 && loc&locDead == 0 {
			fromSub, fromName := from.it.fileName(&from.msg, loc)
			err := dir.Link(s.dir(from.a, from.box), fromSub, fromName, sub, name)
			if err == nil && mem == nil && staged == "" {
				s.sources[from.it] = true
			}
			if err == nil || mem == nil && staged == "" {
				return err
			}
		}
	}
	switch {
	case mem != nil:
		return dir.Write(sub, name, octets(mem), true)
	case staged != "":
		o, err := s.openStaged(c)
		if err != nil {
			return err
		}
		return errors.Join(dir.Write(sub, name, o, true), o.close())
	}
	return fmt.Errorf("settle message: its source: %w", fs.ErrNotExist)
}

// unlink removes the file of an expunged item, if it has one.
func (s *Store) unlink(j *job) error {
	loc := j.it.loc.Load()
	if loc&locDead != 0 {
		return nil
	}
	if err := s.freeDependents(j); err != nil {
		return err
	}
	dir := s.dir(j.a, j.box)
	if found, ok := j.a.found[j.it]; ok {
		delete(j.a.found, j.it)
		if err := dir.Remove(found.Sub, found.Name); err != nil {
			return err
		}
	}
	if loc&locSettled != 0 {
		sub, name := j.it.fileName(&j.msg, loc)
		if err := dir.Remove(sub, name); err != nil {
			return err
		}
	}
	j.it.loc.Store(loc | locDead)
	if loc&locSettled == 0 {
		s.bodies.Lock()
		s.letGo(j.it)
		s.bodies.Unlock()
	}
	return nil
}

// syncFiles flushes the files of all mailboxes. Store.disk is held.
func (s *Store) syncFiles() error {
	if !s.cfg.NoSync {
		if err := s.fs.SyncFS(); err != nil {
			return s.lost(err)
		}
	}
	clear(s.sources)
	return nil
}

// lost makes the store read-only: files that were taken for written are not.
func (s *Store) lost(err error) error {
	if !s.readOnly.Swap(true) {
		s.log.Error("the store is read-only: a flush of the file system failed", "part", "storage", "error", err)
	}
	return errors.Join(storage.ErrReadOnly, err)
}
