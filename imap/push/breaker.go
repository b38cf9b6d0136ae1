package push

import "time"

const (
	// hardFailures in a row, of which none is about a token, say that the
	// gateway is down; softFailures of first tries in a row say that it takes no
	// token at all. Tokens that it never takes are tried again more often.
	hardFailures = 5
	softFailures = 50
	// fewFailures of the first kind are enough to tell an operator.
	fewFailures = 3
	// probeFirst is the time to the first probe of a gateway that is down; it
	// doubles up to probeMost.
	probeFirst = 2 * time.Second
	probeMost  = time.Minute
	// quiet is how long nothing was asked until connections may be gone, so that
	// the first request opens one for all.
	quiet = 45 * time.Second
)

// breaker says how many requests may be under way. While the gateway is down
// that is one probe now and then; when it is back their number grows with
// every answer, up to most.
type breaker struct {
	most int

	window int
	hard   int // failures in a row
	soft   int
	wait   time.Duration // between probes; zero while closed
	probe  int64         // when the next may go, in milliseconds
	since  int64         // when it opened
	bad    int64         // the first of hard
	last   int64         // the last answer
}

func newBreaker(most int) breaker { return breaker{most: most, window: 1} }

// open tells whether the gateway is taken for down.
func (b *breaker) open() bool { return b.wait > 0 }

// slots gives how many requests may be under way, with n there now.
func (b *breaker) slots(now int64, n int) int {
	if b.open() {
		if now < b.probe {
			return 0
		}
		return 1
	}
	if n == 0 && now-b.last > quiet.Milliseconds() {
		b.window = 1
	}
	return b.window
}

// downSince gives when the gateway began not to answer, as far as a few
// failures tell; zero when it does. Where little mail comes, it opens much
// later.
func (b *breaker) downSince() int64 {
	switch {
	case b.hard >= fewFailures:
		return b.bad
	case b.open():
		return b.since
	}
	return 0
}

// outcome of a request, as far as the gateway goes.
type outcome int

const (
	answered outcome = iota // 200 or 410
	refused                 // any other status: perhaps for the token's sake
	down                    // no answer, or one that says so
)

// learn takes an outcome, of a first try or a later one.
func (b *breaker) learn(o outcome, first bool, now int64, chance float64) {
	b.last = now
	switch o {
	case answered:
		b.hard, b.soft, b.wait, b.since = 0, 0, 0, 0
		b.window = min(b.window+1, b.most)
		return
	case refused:
		b.hard = 0
		if first {
			b.soft++
		}
	case down:
		if b.hard++; b.hard == 1 {
			b.bad = now
		}
		b.window = max(b.window/2, 1)
	}
	switch {
	case b.open():
		if now < b.probe {
			return // one that was under way when it opened
		}
		b.wait = min(2*b.wait, probeMost)
	case b.hard >= hardFailures || b.soft >= softFailures:
		b.wait, b.since, b.window = probeFirst, now, 1
	default:
		return
	}
	b.probe = now + b.wait.Milliseconds() - int64(float64(b.wait.Milliseconds())*chance/5)
}
