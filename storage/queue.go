package storage

import (
	"context"

	"barid/smtp"
)

// QueueID names one entry of the queue: one message on its way to the
// recipients of one destination. It ascends in the order of acceptance and is
// never used again.
type QueueID uint64

// Enqueue hands content to the queue, for recipients of one destination. It
// is durable with the rest of its Batch, so one acknowledgement covers local
// and remote recipients. Fails with ErrQueueFull.
type Enqueue struct {
	// Dest is the domain of all recipients: a name in lower case or an address
	// literal.
	Dest string
	From smtp.Path
	To   []smtp.Address // at least one
	// Sender is the account that is charged; zero for mail of the relay's own.
	Sender smtp.Address
	// Prefix goes in front of the content when it is sent: CRLF lines. Entries
	// of one message share the Content, each has its own Prefix.
	Prefix  []byte
	Content Content
}

// Dequeue ends an entry for recipients, in the Batch of what tells their
// sender. Those that are not in the entry any more are passed over; the last
// one ends the entry. Fails with ErrNotQueued.
type Dequeue struct {
	ID QueueID
	To []smtp.Address
}

// MarkQueued changes the marks of an entry. Fails with ErrNotQueued.
type MarkQueued struct {
	ID         QueueID
	Set, Unset QueueMarks
}

func (Enqueue) op()    {}
func (Dequeue) op()    {}
func (MarkQueued) op() {}

// QueueMarks is what is remembered about an entry beside its recipients.
type QueueMarks uint8

// The marks.
const (
	QueueHeld   QueueMarks = 1 << iota // not to be sent until it is released
	QueueWarned                        // its sender was told of the delay
)

// QueueEntry is what a scheduler keeps of an entry.
type QueueEntry struct {
	ID     QueueID
	Dest   string
	Sender smtp.Address
	Size   int64 // octets, prefix included
	Queued Time  // when it was accepted
	Marks  QueueMarks
}

// QueueItem is an entry with its envelope.
type QueueItem struct {
	QueueEntry
	From   smtp.Path
	To     []smtp.Address // that it still waits for, in the order they were given
	Prefix []byte
}

// Queue is the part of a store that keeps mail for other servers. It is safe
// for use by many goroutines; who sends what and when is its user's business.
type Queue interface {
	// Watch calls f for every entry, ascending, and from then on for every new
	// one once it is durable, in that order, until cancel is called. F returns at
	// once and calls nothing of the store. There is one watcher at a time.
	Watch(f func(QueueEntry)) (cancel func())

	// Queued gives an entry's envelope. ErrNotQueued when it has ended.
	Queued(ctx context.Context, id QueueID) (QueueItem, error)

	// ReadQueued calls f with the content of an entry, without its prefix; it is
	// valid until f returns, whose error is returned. ErrNotQueued as above.
	ReadQueued(ctx context.Context, id QueueID, f func(Content) error) error

	// Done is Dequeue for recipients that have the message. It does not wait for
	// the disk: it is durable within 50 ms, and a crash before that sends the
	// message to them once more, which SMTP cannot rule out anyway.
	Done(id QueueID, to []smtp.Address) error

	// QueueLen gives the entries there are and how many there may be.
	QueueLen() (n, most int)
}
