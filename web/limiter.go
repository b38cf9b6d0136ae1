package web

import (
	"net/netip"
	"time"

	"barid/internal/metrics"
	"barid/internal/ratelimit"
)

// maxNetworks is how many networks are remembered for the rate of /new.
const maxNetworks = 16384

// newLimiter gives every network a bucket. Clients without an address share
// one.
func newLimiter(perSecond float64, burst int, m *metrics.Registry) *ratelimit.Limiter[netip.Prefix] {
	every := time.Duration(max(float64(time.Second)/perSecond, 1))
	l := ratelimit.New[netip.Prefix](ratelimit.Config{Every: every, Burst: burst, MaxKeys: maxNetworks})
	m.Limit(metrics.Limit{
		Name: "web_new_networks", Help: "networks remembered for the rate of /new", Max: maxNetworks,
		Use: func() int64 { return int64(l.Keys()) },
	})
	return l
}
