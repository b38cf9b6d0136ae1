package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"barid/internal/finding"
	"barid/storage"
)

// checkedAtOnce is how many entries are looked up between two of its rests.
const checkedAtOnce = 64

// queue compares the entries of the queue with their files.
func (c *checking) queue(ctx context.Context) error {
	q := c.s.queue
	list := q.settledAfter(0)
	for len(list) > 0 {
		for _, e := range list {
			if err := c.queued(e); err != nil {
				return err
			}
			if err := c.rest(ctx); err != nil {
				return err
			}
		}
		list = q.settledAfter(list[len(list)-1].id)
	}
	return c.orphans()
}

// settledAfter gives some entries that have files, ascending.
func (q *queue) settledAfter(id storage.QueueID) (list []*queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, _ := q.at(id + 1); i < len(q.slots) && len(list) < checkedAtOnce; i++ {
		if e := q.slots[i].e; e != nil && e.is(queuedSettled) {
			list = append(list, e)
		}
	}
	return list
}

// queued checks an entry that has files.
func (c *checking) queued(e *queued) error {
	q := c.s.queue
	c.sum.Messages++
	o, err := q.openSettled(e)
	if err == nil {
		c.sum.Octets += e.size
		return o.close()
	}
	if !q.still(e) {
		return nil // it ended meanwhile
	}
	f := Fault{Kind: FaultQueued, File: queueDir + "/" + queueContents + "/" + e.contentName(), Text: err.Error()}
	if c.opt.Repair && broken(err) {
		if failed := q.giveUp(e); failed != nil {
			f.Text += "; and " + failed.Error()
		} else {
			f.Repaired = true
		}
	}
	return c.fault(f)
}

// giveUp ends an entry that cannot be read. What is left of it is kept aside.
func (q *queue) giveUp(e *queued) error {
	q.s.disk.Lock()
	err := q.setAside(e.id)
	q.s.disk.Unlock()
	if err != nil {
		return err
	}
	q.mu.Lock()
	if !e.is(queuedEnded) {
		_, err = q.s.append(&record{changes: []change{{kind: changeDequeue, queue: &queueChange{id: e.id}}}}, nil, nil)
	}
	q.mu.Unlock()
	if err == nil {
		err = q.flush()
	}
	return err
}

// orphans tells of files in the queue that are nobody's.
func (c *checking) orphans() error {
	q := c.s.queue
	for _, sub := range []string{queueEnvelopes, queueContents} {
		files, err := q.listed(sub)
		if err != nil {
			return err
		}
		for _, f := range files {
			if q.known(f.id) {
				continue
			}
			found, err := c.orphan(sub + "/" + f.name)
			if err == nil && found != nil {
				err = c.fault(*found)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *queue) known(id storage.QueueID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.find(id) != nil
}

// orphan looks at a file of an entry that has ended: it may have done so a
// moment ago.
func (c *checking) orphan(name string) (*Fault, error) {
	s := c.s
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.queue.flush(); err != nil {
		return nil, err
	}
	s.settler.doUrgent()
	f := &Fault{Kind: FaultOrphan, File: queueDir + "/" + name, Text: "no queued message has this file"}
	if _, err := s.fs.Stat(f.File); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if c.opt.Repair {
		f.Repaired = s.fs.Remove(f.File) == nil
	}
	return f, nil
}

// findings tells of messages that were put aside.
func (q *queue) findings() []finding.Finding {
	n := q.broken.Load()
	if n == 0 {
		return nil
	}
	return []finding.Finding{{
		ID: "store.queue-broken", Severity: finding.Fault,
		Text:   fmt.Sprintf("%d queued messages cannot be read, so they are not sent.", n),
		Remedy: "Look at the disk. \"barid store check\" names their files; put them back from a backup and start barid anew, or let go of them with \"barid store check --repair\".",
	}}
}
