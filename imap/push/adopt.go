package push

import (
	"slices"
	"time"

	"barid/internal/journal"
	"barid/smtp"
)

// Waiting is a wake-up that waits in the queue of another relay: a token of
// an account, and when the message came.
type Waiting struct {
	Account smtp.Address // folded, without tag
	Token   string
	Since   time.Time
}

// Adopt adds wake-ups to the queue in fsys, for the first try of who opens it
// next; a token that waits there already counts once. Those whose time is over
// (5 h) are left out. It gives how many there are now, at most 150,000: the
// newest. No Sender may have the queue open.
func Adopt(fsys journal.FS, list []Waiting, now time.Time) (int, error) {
	f := file{fs: fsys}
	const most = 150_000
	there, _, err := f.read(most)
	if err != nil {
		return 0, err
	}
	q := newQueue(most, 32<<20)
	for _, c := range there {
		q.insert(&item{key: c.key, queued: c.queued, due: c.due, attempts: c.attempts, place: -1})
		q.shrink(q.newest)
	}
	for _, w := range slices.SortedFunc(slices.Values(list), func(x, y Waiting) int { return x.Since.Compare(y.Since) }) {
		if age := now.Sub(w.Since); age < deadline && age > -deadline {
			q.add(key{w.Account, digestOf(w.Token)}, min(w.Since.UnixMilli(), now.UnixMilli()))
		}
	}
	next, err := f.begin()
	if err != nil {
		return 0, err
	}
	var lines []byte
	for it := q.oldest; it != nil; it = it.newer {
		lines = appendWaiting(lines, it)
	}
	if err := next.write(lines); err != nil {
		next.close() // the first error counts
		return 0, err
	}
	if err := f.commit(next); err != nil {
		return 0, err
	}
	return len(q.items), f.close()
}
