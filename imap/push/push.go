package push

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/journal"
	"barid/internal/metrics"
	"barid/internal/ratelimit"
	"barid/smtp"
	"barid/storage"
)

// tokenEntry is the metadata entry that has the tokens of an account.
const tokenEntry = "/private/devicetoken"

// maxArrivals bounds the accounts that got mail and whose tokens were not yet
// looked up, which takes microseconds.
const maxArrivals = 100_000

// Store is what is needed of a storage.Store.
type Store interface {
	Entries(ctx context.Context, a storage.Account, mailbox string) ([]storage.Entry, error)
	Commit(ctx context.Context, b storage.Batch) (storage.Result, error)
}

// Config of a Sender.
type Config struct {
	Store Store
	// URL of the gateway, beginning with "https://" or, in laboratories,
	// "http://".
	URL string
	// Roots of the gateway's certificate; nil means those of the system.
	Roots *x509.CertPool
	// LookUp gives the addresses of the gateway's host; nil means the system's.
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)
	// FS has the queue's files in its root. The Sender closes it.
	FS journal.FS
	// Parallel is how many requests may be under way. Default 64.
	Parallel int
	// MaxWaiting bounds the wake-ups that wait, MaxOctets what they take on
	// disk, which is half of the largest size of the file; in memory it is about
	// twice as much. The oldest goes for a newer one. Defaults 150,000 and 32 MiB.
	MaxWaiting int
	MaxOctets  int64
	// Transport does the requests. Default one over HTTP/2 where the gateway
	// speaks it.
	Transport http.RoundTripper
	Logger    *slog.Logger
	Metrics   *metrics.Registry
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Sender posts tokens. All methods are safe for many goroutines.
type Sender struct {
	cfg       Config
	log       *slog.Logger
	transport http.RoundTripper
	began     time.Time

	sent, gone, failed, forgotten prometheus.Counter
	requests                      *prometheus.CounterVec // that failed, by kind
	discards                      prometheus.Counter
	discarded                     atomic.Int64
	loud                          *ratelimit.Limiter[string] // of log lines of one kind
	unsaid                        atomic.Int64               // lines that were not logged

	run, send        context.Context
	endRun, endSend  context.CancelFunc
	loops, requested sync.WaitGroup

	arriving sync.Mutex // guards the fields below; a delivery waits for it, so nothing is done under it
	arrived  []smtp.Address
	waiting  map[smtp.Address]bool // in arrived
	bell     chan struct{}         // capacity one: there are arrivals

	mu    sync.Mutex // guards the fields below
	queue *queue
	gate  breaker
	seen  *seen

	wake chan struct{} // capacity one: the queue, or the gateway, is not as it was
	save chan struct{} // capacity one: there is something to write

	file   file      // the writer's own
	broken bool      // the file was not written; likewise
	tried  time.Time // when it last was not
}

// New reads what an earlier run left, and begins. Close ends it. A queue file
// that is damaged costs the lines that are; where it cannot be read or made,
// what waits is kept in memory until it can.
func New(cfg Config) *Sender {
	or(&cfg.Parallel, 64)
	or(&cfg.MaxWaiting, 150_000)
	or(&cfg.MaxOctets, 32<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sender{
		cfg: cfg, log: cfg.Logger.With("part", "push"), transport: cfg.Transport, began: cfg.Now(),
		waiting: map[smtp.Address]bool{}, bell: make(chan struct{}, 1),
		queue: newQueue(cfg.MaxWaiting, cfg.MaxOctets), gate: newBreaker(cfg.Parallel), seen: newSeen(),
		wake: make(chan struct{}, 1), save: make(chan struct{}, 1),
		file: file{fs: cfg.FS},
		loud: ratelimit.New[string](ratelimit.Config{Every: 10 * time.Second, Burst: 10, Now: cfg.Now}),
	}
	if s.transport == nil {
		s.transport = newTransport(cfg)
	}
	s.load()
	s.count(cfg.Metrics)
	s.run, s.endRun = context.WithCancel(context.Background())
	s.send, s.endSend = context.WithCancel(context.Background())
	s.loops.Go(s.lookUp)
	s.loops.Go(s.dispatch)
	s.loops.Go(s.write)
	return s
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

func (s *Sender) count(m *metrics.Registry) {
	s.sent = m.Counter("push_sent", "Wake-ups that the push gateway took.")
	s.gone = m.Counter("push_gone", "Device tokens that the push gateway knows no more; they were removed.")
	s.failed = m.Counter("push_failed", "Wake-ups given up, after the last try or too late.")
	s.forgotten = m.Counter("push_forgotten", "Wake-ups not sent, as the token was removed meanwhile.")
	s.discards = m.Counter("push_discarded", "Wake-ups discarded, as too many waited.")
	s.requests = m.Counters("push_requests_failed", "Requests that the push gateway refused, or did not answer.", "kind")
	m.Limit(metrics.Limit{
		Name: "push_queue", Help: "Wake-ups that wait for the push gateway.", Max: int64(s.cfg.MaxWaiting),
		Use:     func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return int64(len(s.queue.items)) },
		Refused: s.discarded.Load,
	})
	m.Gauge("push_queue_oldest_seconds", "Age of the oldest wake-up that waits.", func() float64 { return s.oldest().Seconds() })
	m.Gauge("push_gateway_down", "1 while the push gateway is taken for down.", func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.gate.open() {
			return 1
		}
		return 0
	})
}

// load fills the queue with what the file has, and makes the file anew. No
// fault of the file is worth a relay that does not start.
func (s *Sender) load() {
	waiting, bad, err := s.file.read(s.cfg.MaxWaiting)
	if err != nil {
		s.log.Error("the queue of wake-ups cannot be read to its end; what was read is kept", "kept", len(waiting), "error", err)
	}
	if bad > 0 {
		s.log.Warn("the queue of wake-ups is corrupt in places; what is not is kept", "lines", bad, "kept", len(waiting))
	}
	now := s.now()
	for _, c := range waiting {
		it := &item{key: c.key, queued: min(c.queued, now), due: c.due, attempts: min(c.attempts, maxAttempts-1), place: -1}
		it.down = it.attempts > 0 // as far as anybody knows now
		if it.due > now+2*pause(maxAttempts, 0).Milliseconds() {
			it.due = now // the clock was somewhere else
		}
		s.queue.insert(it)
		s.discard(s.queue.shrink(it))
	}
	if err := s.rewrite(); err != nil {
		s.isBroken(err)
	}
}

// now is the time in milliseconds since 1970, which never goes back while the
// process runs.
func (s *Sender) now() int64 { return s.began.UnixMilli() + s.cfg.Now().Sub(s.began).Milliseconds() }

// wall gives the clock's time for one of now's.
func (s *Sender) wall(ms int64) time.Time {
	return s.cfg.Now().Add(-time.Duration(s.now()-ms) * time.Millisecond)
}

// Notify tells that a message came for an account; from is its author, as the
// From field has it. Both may be spelled as their senders did. Whoever writes
// to himself is not woken: that is a copy for his other devices, of something
// that he sees. It returns at once.
func (s *Sender) Notify(account, from smtp.Address) {
	account = account.Fold().WithoutTag()
	if account == from.Fold().WithoutTag() {
		return
	}
	s.arriving.Lock()
	known := s.waiting[account]
	full := len(s.arrived) >= maxArrivals
	if !known && !full {
		s.waiting[account] = true
		s.arrived = append(s.arrived, account)
	}
	s.arriving.Unlock()
	if !known && full {
		s.discard(1)
	}
	ring(s.bell)
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // already ringing
	}
}

// lookUp queues the tokens of accounts that got mail.
func (s *Sender) lookUp() {
	for {
		select {
		case <-s.bell:
		case <-s.run.Done():
			s.queueArrived() // what came before is not lost by a stop
			return
		}
		s.queueArrived()
	}
}

func (s *Sender) queueArrived() {
	s.arriving.Lock()
	accounts := s.arrived
	s.arrived = nil
	clear(s.waiting)
	if len(accounts) > 1000 {
		s.waiting = map[smtp.Address]bool{} // a map never shrinks
	}
	s.arriving.Unlock()
	for _, a := range accounts {
		s.queueTokens(a)
	}
}

func (s *Sender) queueTokens(a smtp.Address) {
	tokens, err := s.tokens(s.send, a)
	if err != nil {
		s.discard(1)
		s.warn("the tokens of an account cannot be read", "account", a, "error", err)
		return
	}
	if len(tokens) == 0 {
		return
	}
	s.mu.Lock()
	now, discarded := s.now(), 0
	for _, t := range tokens {
		s.seen.note(t.digest, t.text, t.set)
		discarded += s.queue.add(key{a, t.digest}, now)
	}
	s.mu.Unlock()
	s.discard(discarded)
	ring(s.wake)
	ring(s.save)
}

// token is one token of an account.
type token struct {
	text   string
	digest digest
	set    time.Time
}

// tokens lists the tokens of an account, in the order they first came; none
// when there is no account.
func (s *Sender) tokens(ctx context.Context, a smtp.Address) ([]token, error) {
	entries, err := s.cfg.Store.Entries(ctx, storage.Account{Address: a}, "")
	if errors.Is(err, storage.ErrNoAccount) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []token
	for _, e := range entries {
		if e.Name == tokenEntry {
			text := string(e.Value)
			all = append(all, token{text, digestOf(text), e.Set})
		}
	}
	return all, nil
}

// dispatch starts requests as they become due.
func (s *Sender) dispatch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.run.Done():
			return
		}
		timer.Reset(s.launch())
	}
}

// launch starts what may start, and tells when to look again if nothing rings
// before.
func (s *Sender) launch() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if n := s.queue.expire(now); n > 0 {
		s.failed.Add(float64(n))
		s.warn("wake-ups given up: over the deadline", "wakeups", n)
		ring(s.save)
	}
	for {
		s.queue.pass(now)
		slots := s.gate.slots(now, s.queue.flying)
		if busy := s.busy(); busy >= max(slots, 1) {
			// A request that ends rings; one may become slow before.
			return min(s.untilDeadline(now), time.Duration(min(s.queue.nextSlow()-now, time.Hour.Milliseconds()))*time.Millisecond)
		}
		if slots == 0 {
			return time.Duration(s.gate.probe-now) * time.Millisecond
		}
		it := s.queue.take(now, slots)
		if it == nil {
			break
		}
		k, queued := it.key, it.queued
		s.requested.Go(func() { s.try(it, k, queued) })
	}
	due := s.queue.next()
	if due <= now { // repeated tries, which have all slots they may
		return s.untilDeadline(now)
	}
	return min(time.Duration(min(due-now, time.Hour.Milliseconds()))*time.Millisecond, s.untilDeadline(now))
}

// busy gives how many slots are taken: requests that are slow have none, so
// that a token whose own service hangs does not hold up all others. All are
// bounded together, and while the gateway is down every one counts.
func (s *Sender) busy() int {
	q := s.queue
	if s.gate.open() || q.flying >= s.cfg.Parallel {
		return q.flying
	}
	return q.flying - q.slow
}

// untilDeadline gives the time until the oldest item is over its deadline.
func (s *Sender) untilDeadline(now int64) time.Duration {
	if s.queue.oldest == nil {
		return time.Hour
	}
	left := s.queue.oldest.queued + deadline.Milliseconds() - now
	return max(time.Duration(left)*time.Millisecond, time.Second)
}

// try makes one request and says what became of it.
func (s *Sender) try(it *item, k key, queued int64) {
	tokens, err := s.tokens(s.send, k.account)
	if err != nil {
		s.warn("the tokens of an account cannot be read", "account", k.account, "error", err)
		s.land(it, func(now int64) { s.queue.later(it, now, firstPause, ours) })
		return
	}
	at := slices.IndexFunc(tokens, func(t token) bool { return t.digest == k.token })
	if at < 0 {
		s.forgotten.Inc()
		s.land(it, func(int64) { s.queue.done(it) })
		return
	}
	s.mu.Lock()
	s.seen.note(k.token, tokens[at].text, tokens[at].set) // it may wait since before the start
	s.mu.Unlock()
	status, err := s.post(s.send, tokens[at].text)
	if s.send.Err() != nil { // we end, not the gateway
		s.land(it, func(now int64) { s.queue.later(it, now, 0, ours) })
		return
	}
	if status == http.StatusGone {
		s.removeToken(k.account, tokens[at].text, s.wall(queued))
	}
	s.learn(it, k, status, err, platformOf(tokens[at].text))
}

// land lets go of an item, and wakes the other loops.
func (s *Sender) land(it *item, f func(now int64)) {
	s.mu.Lock()
	f(s.now())
	s.mu.Unlock()
	ring(s.wake)
	ring(s.save)
}

// learn takes the result of a request.
func (s *Sender) learn(it *item, k key, status int, err error, platform uint8) {
	result := judge(status, err)
	var over, wasOpen, isOpen bool
	var attempt uint8
	s.land(it, func(now int64) {
		wasOpen = s.gate.open()
		failedBefore := s.gate.hard > 0 || wasOpen
		s.gate.learn(result, it.attempts == 0, now, rand.Float64())
		isOpen = s.gate.open()
		s.seen.result(k.token, platform, status, err, s.cfg.Now())
		if result == answered {
			s.queue.done(it)
			if failedBefore {
				s.queue.release(now)
			}
			return
		}
		attempt = it.attempts + 1
		why := itsOwn
		if result == down {
			why = gateway
		}
		if over = s.queue.later(it, now, pause(it.attempts, rand.Float64()), why); over {
			s.seen.failed(platform)
		}
	})
	switch {
	case status == http.StatusOK:
		s.sent.Inc()
	case status == http.StatusGone:
		s.gone.Inc()
	case result == refused:
		s.requests.WithLabelValues("refused").Inc()
	default:
		s.requests.WithLabelValues("down").Inc()
	}
	if result != answered {
		s.warn("request failed", "account", k.account, "attempt", attempt, "why", told(status, err))
	}
	if over {
		s.failed.Inc()
		s.error("wake-up given up: over the last try or the deadline", "account", k.account)
	}
	switch {
	case isOpen && !wasOpen:
		s.log.Warn("the push gateway is taken for down; it is asked now and then", "why", told(status, err))
	case wasOpen && !isOpen:
		s.log.Info("the push gateway answers again")
	}
}

// removeToken removes a token that the gateway knows no more, unless its
// device has set it again since by.
func (s *Sender) removeToken(a smtp.Address, text string, by time.Time) {
	result, err := s.cfg.Store.Commit(s.send, storage.Batch{Ops: []storage.Op{
		storage.RemoveToken{Account: storage.Account{Address: a}, Token: text, SetBy: by},
	}})
	if err == nil {
		err = result.Per[0].Err
	}
	if err != nil && !errors.Is(err, storage.ErrNoAccount) {
		s.warn("a token that is gone cannot be removed", "account", a, "error", err)
	}
}

// discard counts wake-ups that nobody will get.
func (s *Sender) discard(n int) {
	if n == 0 {
		return
	}
	s.discarded.Add(int64(n))
	if s.discards != nil { // nil while the queue is loaded
		s.discards.Add(float64(n))
	}
	s.warn("wake-ups discarded: too many wait", "wakeups", n)
}

// warn logs what may come by the thousands: some of it, and how much was not.
func (s *Sender) warn(what string, args ...any)  { s.say(slog.LevelWarn, what, args) }
func (s *Sender) error(what string, args ...any) { s.say(slog.LevelError, what, args) }

func (s *Sender) say(level slog.Level, what string, args []any) {
	if ok, _ := s.loud.Allow(what); !ok {
		s.unsaid.Add(1)
		return
	}
	if n := s.unsaid.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	s.log.Log(context.Background(), level, what, args...)
}

// grace is how long requests that are under way may take when the Sender ends.
const grace = 2 * time.Second

// Close ends requests, writes what waits, and gives the files back. ctx bounds
// how long requests under way are waited for, beside a bound of our own.
func (s *Sender) Close(ctx context.Context) error {
	s.endRun()
	late := time.NewTimer(grace)
	defer late.Stop()
	done := make(chan struct{})
	go func() {
		s.loops.Wait() // they begin requests
		s.requested.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-late.C:
	case <-ctx.Done():
	}
	s.endSend()
	<-done
	if t, ok := s.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	err := s.persist()
	if err == nil {
		err = s.file.flush()
	}
	if err = errors.Join(err, s.file.close(), s.cfg.FS.Close()); err != nil {
		return fmt.Errorf("close push: %w", err)
	}
	return nil
}
