package web

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// generation is how many networks a limiter knows before it forgets those it
// has not seen for longest. It knows at most twice as many.
const generation = 8192

// limiter gives every network a token bucket.
//
// Its memory is bounded without a clock: networks that were seen are in the
// young generation; when that is full, it becomes the old one, and what was
// the old one is forgotten. Forgetting a network gives it a full bucket, so
// whoever has many thousand networks can have more; such a one is not held
// off by addresses anyway.
type limiter struct {
	perSecond rate.Limit
	burst     int

	mu         sync.Mutex // guards the fields below
	young, old map[netip.Prefix]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{perSecond: rate.Limit(perSecond), burst: burst, young: map[netip.Prefix]*rate.Limiter{}}
}

// allow takes a token from the bucket of the address's network. Clients
// without an address share one bucket.
func (l *limiter) allow(client netip.Addr) bool {
	key := network(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.young[key]
	if !ok {
		if bucket, ok = l.old[key]; !ok {
			bucket = rate.NewLimiter(l.perSecond, l.burst)
		}
		if len(l.young) >= generation {
			l.old, l.young = l.young, map[netip.Prefix]*rate.Limiter{}
		}
		l.young[key] = bucket
	}
	return bucket.AllowN(time.Now(), 1)
}

// network is what one subscriber or one house usually has: an IPv4 /24, an
// IPv6 /48.
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := 48
	if client.Is4() {
		bits = 24
	}
	prefix, _ := client.Prefix(bits) // fails for the zero Addr alone, and then it is the zero Prefix
	return prefix
}
