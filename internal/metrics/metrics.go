// Package metrics is the registry of what a relay counts. Each part asks it
// for its counters by name; one registry belongs to one relay, so two relays
// in a process count apart. No label ever carries an address or an IP.
//
// A nil *Registry is valid: it hands out counters that nobody reads.
package metrics

import (
	"net/http"
	"sort"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds the counters, gauges and limits of one relay.
type Registry struct {
	prom *prometheus.Registry

	mu       sync.Mutex // guards the fields below
	counters map[string]*prometheus.CounterVec
	limits   []Limit
}

// Limit is a bound that some part enforces: its present use and how often it
// refused something.
type Limit struct {
	Name    string // "imap_connections"
	Help    string
	Max     int64        // zero means unbounded
	Use     func() int64 // the present use
	Refused func() int64 // refusals since start; nil where nothing is refused
}

// New makes an empty registry with the runtime's own figures in it.
func New() *Registry {
	r := &Registry{prom: prometheus.NewRegistry(), counters: map[string]*prometheus.CounterVec{}}
	r.prom.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Counter gives the counter of that name, made when first asked for.
func (r *Registry) Counter(name, help string) prometheus.Counter {
	return r.Counters(name, help).WithLabelValues()
}

// Counters gives the family of counters of that name with those labels.
func (r *Registry) Counters(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	if r == nil {
		return vec
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, ok := r.counters[name]; ok {
		return have
	}
	r.prom.MustRegister(vec)
	r.counters[name] = vec
	return vec
}

// Gauge registers a value that is read when somebody looks. A second gauge of
// the same name is a fault of ours and panics.
func (r *Registry) Gauge(name, help string, read func() float64) {
	if r == nil {
		return
	}
	r.prom.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Limit registers a bound: it shows in /metrics as NAME_use and NAME_limit,
// and in status.
func (r *Registry) Limit(l Limit) {
	if r == nil {
		return
	}
	r.Gauge(l.Name+"_use", "Present use: "+l.Help, func() float64 { return float64(l.Use()) })
	r.Gauge(l.Name+"_limit", "Limit, 0 for none: "+l.Help, func() float64 { return float64(l.Max) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = append(r.limits, l)
}

// Limits lists the registered bounds by name.
func (r *Registry) Limits() []Limit {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := append([]Limit(nil), r.limits...)
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Values reads every counter and gauge that has no label, by name. Families
// with labels are summed.
func (r *Registry) Values() (map[string]float64, error) {
	if r == nil {
		return nil, nil
	}
	families, err := r.prom.Gather()
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch {
			case m.Counter != nil:
				out[f.GetName()] += m.Counter.GetValue()
			case m.Gauge != nil:
				out[f.GetName()] += m.Gauge.GetValue()
			}
		}
	}
	return out, nil
}

// Handler serves the registry in the Prometheus text format; a nil one has
// nothing to serve.
func (r *Registry) Handler() http.Handler {
	if r == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{})
}
