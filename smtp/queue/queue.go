package queue

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"

	"github.com/prometheus/client_golang/prometheus"
)

// Store is the part of the store that a Queue works on.
type Store interface {
	storage.Queue
	Commit(ctx context.Context, b storage.Batch) (storage.Result, error)
}

// Attempt is what became of one try to bring an item out.
type Attempt struct {
	Per     []*smtp.Reply // one for each of the item's recipients
	Reached bool          // the destination spoke with us
	Host    string
	Channel string
	Took    time.Duration
}

// Failure is a recipient that does not get a message, or not yet.
type Failure struct {
	Recipient smtp.Address
	Reply     *smtp.Reply
}

// Notice is what the sender of a message is to be told.
type Notice struct {
	Item     storage.QueueItem
	Failures []Failure
	Delayed  bool      // not given up yet
	Until    time.Time // when it will be, if delayed
	Content  storage.Content
}

// Config of a Queue.
type Config struct {
	Store Store
	// Deliver tries to bring an item out. It returns soon after ctx ends.
	Deliver func(ctx context.Context, item storage.QueueItem, content storage.Content) Attempt
	// Tell gives the operations that tell a sender; none when there is nobody to
	// tell. They share a batch with the end of the entry.
	Tell func(ctx context.Context, n Notice) []storage.Op

	// Slots bounds the attempts under way. Default 200.
	Slots int
	// FirstRetry and MaxRetry bound the pause after a failure, which doubles
	// between them. Defaults 60s and 1h.
	FirstRetry, MaxRetry time.Duration
	// Lifetime is when an entry is given up. Default 48h.
	Lifetime time.Duration
	// WarnAfter is when its sender is told of a delay; negative is never. Default 4h.
	WarnAfter time.Duration

	Logger  *slog.Logger
	Metrics *metrics.Registry
	Now     func() time.Time // with a monotonic reading
}

const (
	firstWindow = 2.0
	maxWindow   = 10.0
	quantum     = 64 << 10 // octets that a sender may send before the next one's turn
	// startSpread is within what time after a start everything is tried, or
	// within Config.FirstRetry where that is shorter.
	startSpread = time.Minute
	// patience is how often in all an entry may fail to reach its destination
	// before it stands behind the others of its sender: it may be the one that
	// makes the peer hang up.
	patience = 3
	// sweepEvery is how often old entries are looked for.
	sweepEvery = time.Minute
	// keptIdle bounds the destinations that are remembered without mail.
	keptIdle = 5000
)

// Queue sends what the store has queued. It is safe for many goroutines.
type Queue struct {
	cfg Config
	log *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // something may be due

	sent, failed, expired, warned, untold *prometheus.CounterVec

	mu       sync.Mutex // guards the fields below
	entries  map[storage.QueueID]*entry
	dests    map[string]*destination
	ready    ring // destinations that may send now
	timers   timers
	inFlight int
	octets   int64
	idle     int  // destinations without entries
	starting bool // what Watch gives is of before the start
	stopped  bool
}

// New makes a Queue that does nothing before Start.
func New(cfg Config) *Queue {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&cfg.FirstRetry, time.Minute)
	set(&cfg.MaxRetry, time.Hour)
	set(&cfg.Lifetime, 48*time.Hour)
	set(&cfg.WarnAfter, 4*time.Hour)
	if cfg.Slots <= 0 {
		cfg.Slots = 200
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q := &Queue{
		cfg: cfg, log: cfg.Logger.With("part", "queue"), wake: make(chan struct{}, 1),
		entries: map[storage.QueueID]*entry{}, dests: map[string]*destination{},
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.measure(cfg.Metrics)
	return q
}

// measure registers what is counted.
func (q *Queue) measure(m *metrics.Registry) {
	q.sent = m.Counters("queue_sent_recipients", "Recipients whose destination took the mail.")
	q.failed = m.Counters("queue_failed_recipients", "Recipients whose destination refused the mail for good.")
	q.expired = m.Counters("queue_expired_recipients", "Recipients given up because the mail got too old.")
	q.untold = m.Counters("queue_lost_notices", "Notifications of a failure that the store did not take.")
	q.warned = m.Counters("queue_delay_notices", "Messages whose sender was told of a delay.")
	m.Gauge("queue_oldest_seconds", "Age of the oldest message in the queue.", func() float64 { return float64(q.Summary().Oldest) })
	m.Gauge("queue_in_flight", "Attempts under way.", func() float64 { return float64(q.Summary().InFlight) })
	m.Gauge("queue_breakers_open", "Destinations that are left alone for a while.", func() float64 { return float64(q.Summary().Broken) })
	m.Limit(metrics.Limit{Name: "queue_entries", Help: "messages on their way to other servers, one for each destination",
		Use: func() int64 { n, _ := q.cfg.Store.QueueLen(); return int64(n) }, Max: int64(queueMax(q.cfg.Store))})
}

func queueMax(s Store) int { _, most := s.QueueLen(); return most }

// Start takes over what is queued, and begins.
func (q *Queue) Start() {
	q.mu.Lock()
	q.starting = true
	q.mu.Unlock()
	stop := q.cfg.Store.Watch(q.add)
	q.mu.Lock()
	q.starting = false
	q.mu.Unlock()
	q.work.Go(func() {
		defer stop()
		q.run()
	})
	q.work.Go(q.sweeps)
}

// Stop ends attempts under way and waits for them. What they did not finish
// is tried again after the next start.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.cancel()
	q.work.Wait()
}

// run starts attempts whenever something changed or is due.
func (q *Queue) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
		if next := q.pump(); next > 0 {
			timer.Reset(next)
		}
	}
}

// nudge lets run look.
func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add takes over a new entry; the store calls it.
func (q *Queue) add(e storage.QueueEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped || q.entries[e.ID] != nil {
		return
	}
	d := q.destination(e.Dest)
	if d.empty() {
		q.idle--
	}
	x := &entry{id: e.ID, dest: d, sender: e.Sender, size: int32(min(e.Size, 1<<30)), queued: e.Queued, marks: e.Marks}
	q.entries[e.ID] = x
	q.octets += int64(x.size)
	switch {
	case e.Marks&storage.QueueHeld != 0:
		x.state = held
		d.held++
	case q.starting:
		q.later(x, rand.N(min(startSpread, q.cfg.FirstRetry)))
	default:
		q.enqueue(x, false)
	}
	q.nudge()
}

// pump starts what may start, and tells how long until something else is due;
// zero is when nothing is.
func (q *Queue) pump() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.cfg.Now()
	next := q.timers.run(now)
	for !q.stopped && q.inFlight < q.cfg.Slots {
		d := q.choose()
		if d == nil {
			break
		}
		x := d.pop()
		x.state = flying
		d.inFlight++
		q.inFlight++
		q.place(d)
		q.work.Go(func() { q.attempt(x) })
	}
	return next
}

// choose gives the destination whose turn it is. None holds more than a
// quarter of the slots while others wait, and a tenth of them is kept for
// those that have nothing under way.
func (q *Queue) choose() *destination {
	free := q.cfg.Slots - q.inFlight
	for range q.ready.len() {
		d := q.ready.next()
		if d.inFlight > 0 && free <= q.cfg.Slots/10 {
			continue
		}
		if q.ready.len() > 1 && d.inFlight >= max(1, q.cfg.Slots/4) {
			continue
		}
		return d
	}
	return nil
}
