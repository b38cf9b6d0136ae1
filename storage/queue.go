package storage

import (
	"context"

	"barid/smtp"
)

// QueueID names one entry of the queue: one message on its way to the
// recipients of one destination. It ascends in the order of acceptance and is
// never used again.
type QueueID uint64

// Bounds of one Enqueue.
const (
	MaxQueueRecipients = 10_000
	MaxQueuePrefix     = 64 << 10 // octets
)

// Enqueue hands content to the queue, for recipients of one destination. It
// is durable with the rest of its Batch, so one acknowledgement covers local
// and remote recipients. Fails with ErrQueueFull when the queue is full, or a
// tenth of it is this Sender's.
type Enqueue struct {
	// Dest is the domain of all recipients: a name in lower case or an address
	// literal.
	Dest string
	From smtp.Path
	To   []smtp.Address // 1 to MaxQueueRecipients
	// Sender is the account that is charged; zero for mail of the relay's own,
	// which has a tenth, too. What is queued leaves even when the account is
	// removed.
	Sender smtp.Address
	// Prefix goes in front of the content when it is sent: CRLF lines, at most
	// MaxQueuePrefix octets. Entries of one message share the Content, each has
	// its own Prefix.
	Prefix  []byte
	Content Content
}

// Dequeue ends an entry for recipients, in the Batch of what tells their
// sender. Those that are not in the entry any more are passed over; the last
// one ends the entry. Fails with ErrNotQueued when it has ended.
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
	// Watch calls f for every entry there is, ascending, and then returns; from
	// then on f is called for every new one once it is durable, in that order and
	// never twice at a time, until cancel is called. Cancel waits for a call that
	// is under way. F returns at once; it may use the store, and must not cancel.
	// There is one watcher at a time.
	Watch(f func(QueueEntry)) (cancel func())

	// Queued gives an entry's envelope. ErrNotQueued when it has ended, or cannot
	// be read because what lies on disk is broken: then it is logged and put
	// aside until an operator looks at it. Other errors may be over the next time.
	Queued(ctx context.Context, id QueueID) (QueueItem, error)

	// ReadQueued calls f with the content of an entry, without its prefix; it is
	// valid until f returns, even when the entry ends meanwhile. F's error is
	// returned; other errors are those of Queued.
	ReadQueued(ctx context.Context, id QueueID, f func(Content) error) error

	// Done is Dequeue for recipients that have the message. It does not wait for
	// a flush: it is durable within 50 ms, and a crash before that sends the
	// message to them once more, which SMTP cannot rule out anyway.
	Done(id QueueID, to []smtp.Address) error

	// QueueLen gives the entries there are and how many there may be.
	QueueLen() (n, most int)
}
