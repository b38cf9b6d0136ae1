package local

import "barid/storage"

// fetched tells whether a client knows a message: it read it, flagged it, or
// put it there. Then its file lies in cur, as it does on other servers, where
// selecting a mailbox moves the files.
func fetched(m *storage.Message, it *item) bool {
	return m.Flags != 0 || it.loc.Load()&locCur != 0
}

// fetched notes that a client read a large message: after that its time is
// shorter. For others nothing depends on it, and a rename can be saved. It is
// not made durable: what a crash takes of it leaves later.
func (s *Store) fetched(a *account, bs *boxState, at int) {
	m, it := bs.view.Messages[at], bs.items[at]
	if m.Size <= storage.LargeSize || it.loc.Load()&(locCur|locDead) != 0 {
		return
	}
	s.mu.Lock()
	a.refs++ // who has the mailbox open holds the account, too
	s.mu.Unlock()
	s.settler.take(a, []job{{kind: jobFetched, box: bs.view.Name, msg: m, it: it}})
}

// markFetched moves the file of an item to cur, where it will be, too, when it
// has none yet. Store.disk is held.
func (s *Store) markFetched(j *job) error {
	loc := j.it.loc.Load()
	switch {
	case loc&(locCur|locDead) != 0:
		return nil
	case loc&locSettled == 0:
		j.it.loc.Store(loc | locCur)
		return nil
	}
	return s.place(j, loc, loc|locCur)
}
