package zone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// CheckConfig shapes a Check.
type CheckConfig struct {
	// Resolvers are asked where the zone is, and for the world's view of it:
	// "address:port". Default: those of /etc/resolv.conf.
	Resolvers []string
	// Port of the name servers. Default 53.
	Port uint16
	// TryTime bounds one question, which is put twice. Default 2s.
	TryTime time.Duration
	// Published is told the id of the MTA-STS policy that the DNS has, and
	// answers whether it is good for the policy now. Nil takes any.
	Published func(id string) bool
}

// State is what became of a record.
type State string

// The states of a record.
const (
	Right    State = "right"
	Pending  State = "pending"  // right at the name servers; a resolver still remembers otherwise
	Missing  State = "missing"  // nobody has it
	Wrong    State = "wrong"    // there is another one, or not every name server has it
	Unknown  State = "unknown"  // nobody answered
	Unneeded State = "unneeded" // nobody would look at it
)

// Result is a record with what the DNS has in its place.
type Result struct {
	Record
	State   State    `json:"state"`
	Found   []string `json:"found,omitempty"`
	Problem string   `json:"problem,omitempty"` // one sentence
	Change  string   `json:"change,omitempty"`  // the one line to put right
}

// Bad tells whether a result is in the way of what its level stands for.
func (r Result) Bad() bool {
	return r.State == Missing || r.State == Wrong || r.State == Unknown
}

// Report is what a Check found.
type Report struct {
	Domain  string   `json:"domain"`
	Zone    string   `json:"zone,omitempty"` // that the domain is in
	Servers []string `json:"servers"`        // of the zone, that were asked
	Signed  bool     `json:"signed"`         // with DNSSEC
	Results []Result `json:"results"`
	// Remarks are what is wrong with the zone as a whole.
	Remarks []string `json:"remarks,omitempty"`
	// Usable says that all that is required is right, Complete that what is
	// recommended is so, too.
	Usable   bool `json:"usable"`
	Complete bool `json:"complete"`
}

// atOnce is how many questions are under way together.
const atOnce = 16

// checker is one Check.
type checker struct {
	cfg    CheckConfig
	facts  Facts
	asker  asker
	place  place
	failed []atomic.Int32      // questions that each server left open
	said   map[question][]view // the name servers first, then the resolvers
}

// question is a name, with the dot at its end, and a type.
type question struct {
	name string
	kind uint16
}

// view is what one server says.
type view struct {
	answer
	err error
}

// Check compares what the DNS says with what it should. It takes as long as
// servers take to answer or not to, at most about 20 s, or until ctx ends: what
// was not answered then is Unknown.
func Check(ctx context.Context, f Facts, cfg CheckConfig) Report {
	if len(cfg.Resolvers) == 0 {
		cfg.Resolvers = system()
	}
	if cfg.Port == 0 {
		cfg.Port = 53
	}
	if cfg.TryTime == 0 {
		cfg.TryTime = 2 * time.Second
	}
	c := &checker{cfg: cfg, facts: f, asker: asker{tryTime: cfg.TryTime, tries: 2}, said: map[question][]view{}}
	r := Report{Domain: f.Domain, Servers: []string{}}
	if !c.onlyAnswering(ctx, &r) {
		for _, rec := range New(f) {
			r.Results = append(r.Results, Result{Record: rec, State: Unknown, Problem: "No resolver of this machine answers."})
		}
		return r
	}
	var err error
	if c.place, err = c.locate(ctx, f.Domain); err != nil {
		r.Remarks = append(r.Remarks, sentence(err))
	}
	r.Zone, r.Signed = strings.TrimSuffix(c.place.apex, "."), c.place.signed
	r.Remarks = append(r.Remarks, c.place.remarks...)
	for _, s := range c.place.servers {
		r.Servers = append(r.Servers, s.name)
	}
	records := New(f)
	c.gather(ctx, records)
	for _, rec := range records {
		r.Results = append(r.Results, c.result(rec))
	}
	r.Results = append(r.Results, c.strays()...)
	r.Usable, r.Complete = true, true
	for _, one := range r.Results {
		r.Usable = r.Usable && !(one.Level == Required && one.Bad())
		r.Complete = r.Complete && !(one.Level <= Recommended && one.Bad())
	}
	r.Complete = r.Complete && r.Usable
	return r
}

// sentence makes one of an error.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// onlyAnswering leaves out resolvers that do not answer; false when none does.
func (c *checker) onlyAnswering(ctx context.Context, r *Report) bool {
	errs := make([]error, len(c.cfg.Resolvers))
	c.each(len(errs), func(i int) {
		_, errs[i] = c.asker.ask(ctx, c.cfg.Resolvers[i], dns.Fqdn(c.facts.Domain), dns.TypeSOA, true)
	})
	var good []string
	for i, s := range c.cfg.Resolvers {
		if errs[i] == nil {
			good = append(good, s)
		} else {
			r.Remarks = append(r.Remarks, fmt.Sprintf("The resolver %s of this machine is of no use: %v.", s, errs[i]))
		}
	}
	c.cfg.Resolvers = good
	return len(good) > 0
}

// each calls f for 0 to n-1, some at a time.
func (c *checker) each(n int, f func(int)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() { defer func() { <-slots }(); f(i) })
	}
	all.Wait()
}

// resolve asks the resolvers in turn, and follows an alias that one of them
// did not follow.
func (c *checker) resolve(ctx context.Context, name string, kind uint16) (a answer, err error) {
	for _, s := range c.cfg.Resolvers {
		if a, err = c.asker.ask(ctx, s, name, kind, true); err == nil {
			return a, nil
		}
	}
	return a, fmt.Errorf("no resolver could tell about %s: %w", strings.TrimSuffix(name, "."), err)
}

// patience is how many questions a server may leave open before it is not
// asked any more.
const patience = 3

// gather asks everybody everything.
func (c *checker) gather(ctx context.Context, records []Record) {
	c.failed = make([]atomic.Int32, len(c.place.servers)+len(c.cfg.Resolvers))
	var asked []question
	for _, q := range c.questions(records) {
		if c.said[q] == nil {
			c.said[q] = make([]view, len(c.place.servers)+len(c.cfg.Resolvers))
			asked = append(asked, q)
		}
	}
	per := len(c.place.servers) + len(c.cfg.Resolvers)
	var mu sync.Mutex
	c.each(len(asked)*per, func(i int) {
		q, s := asked[i/per], i%per
		v := view{err: errSilent}
		if c.failed[s].Load() < patience {
			if v = c.view(ctx, q, s); v.err != nil && v.err != errAbroad {
				c.failed[s].Add(1)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		c.said[q][s] = v
	})
}

var errSilent = errors.New("it left too many questions open")

var errAbroad = errors.New("the name is in another zone")

// view asks one server. What a name server hands on, the resolvers answer.
func (c *checker) view(ctx context.Context, q question, s int) (v view) {
	if s >= len(c.place.servers) {
		v.answer, v.err = c.asker.ask(ctx, c.cfg.Resolvers[s-len(c.place.servers)], q.name, q.kind, true)
		return v
	}
	if !dns.IsSubDomain(c.place.apex, q.name) {
		return view{err: errAbroad}
	}
	v.answer, v.err = c.asker.ask(ctx, c.place.servers[s].addr, q.name, q.kind, false)
	if v.err == nil && (v.outside || v.below) {
		alias := v.alias
		v.answer, v.err = c.resolve(ctx, q.name, q.kind)
		if v.alias == "" {
			v.alias = alias
		}
	}
	return v
}

// questions lists what has to be known to judge the records.
func (c *checker) questions(records []Record) (all []question) {
	d := dns.Fqdn(c.facts.Domain)
	all = append(all, question{d, dns.TypeA}, question{d, dns.TypeAAAA}, question{d, dns.TypeMX})
	for _, r := range records {
		kind := dns.StringToType[r.Type]
		all = append(all, question{r.Name + ".", kind})
		if r.Type == "CNAME" {
			all = append(all, question{r.Name + ".", dns.TypeA}, question{r.Name + ".", dns.TypeAAAA})
		}
		if r.Type == "CAA" {
			for at := d; ; {
				i, end := dns.NextLabel(at, 0)
				if end || len(all) > 200 {
					break
				}
				at = at[i:]
				all = append(all, question{at, dns.TypeCAA})
			}
		}
	}
	return all
}

// result judges a record by what each server says.
func (c *checker) result(rec Record) Result {
	out := Result{Record: rec}
	var verdicts []verdict // of those that answered
	var behind []string
	var silent error
	for s := range c.place.servers {
		v := c.judge(rec, s)
		switch {
		case v.state == Unknown:
			silent = v.err
			continue
		case v.state != Right:
			behind = append(behind, c.place.servers[s].name)
		}
		verdicts = append(verdicts, v)
	}
	resolved := c.resolved(rec)
	switch {
	case len(verdicts) == 0 && resolved.state == Unknown:
		if silent == nil || errors.Is(silent, errAbroad) {
			silent = resolved.err
		}
		out.State, out.Problem = Unknown, fmt.Sprintf("Nobody could tell: %v.", silent)
		return out
	case len(verdicts) == 0:
		out.take(resolved)
	case len(behind) == len(verdicts) || len(behind) == 0:
		out.take(verdicts[0])
	default:
		out.take(worst(verdicts))
		out.State = Wrong
		out.Problem = "Not every name server has it as it should be: " + strings.Join(behind, ", ") + "."
	}
	if out.State == Right && (resolved.state == Missing || resolved.state == Wrong) && len(verdicts) > 0 {
		out.State = Pending
		out.Problem = "The name servers have it; a resolver still remembers otherwise, which passes by itself."
	}
	if out.Bad() {
		out.Change = change(out)
	}
	return out
}

// take puts a verdict into a result.
func (r *Result) take(v verdict) {
	r.State, r.Found, r.Problem = v.state, v.found, v.problem
	if v.level != nil {
		r.Level = *v.level
	}
}

func worst(all []verdict) verdict {
	for _, v := range all {
		if v.state != Right {
			return v
		}
	}
	return all[0]
}

// resolved is the verdict on what the resolvers say: the first that is not
// right, of those that answered.
func (c *checker) resolved(rec Record) verdict {
	out := verdict{state: Unknown, err: errNoZone}
	for s := range c.cfg.Resolvers {
		v := c.judge(rec, len(c.place.servers)+s)
		if v.state != Unknown && (out.state == Unknown || out.state == Right) || v.state == Unknown && out.state == Unknown {
			out = v
		}
	}
	return out
}

// change is the one line to put right.
func change(r Result) string {
	switch {
	case r.Data == "":
		return "add the public addresses of the relay: " + r.Name + ". " + fmt.Sprint(r.TTL) + " IN A and AAAA"
	case r.State == Wrong && len(r.Found) > 0:
		return "put in their place: " + r.Line()
	}
	return "add: " + r.Line()
}

// strays finds addresses of the domain that are none of the relay's, where
// those of their family are known.
func (c *checker) strays() (out []Result) {
	if len(c.facts.Addrs) == 0 {
		return nil
	}
	known := map[bool]bool{}
	for _, a := range c.facts.Addrs {
		known[a.Is4()] = true
	}
	seen := map[netip.Addr]bool{}
	for s := range len(c.place.servers) + len(c.cfg.Resolvers) {
		if s >= len(c.place.servers) && len(c.place.servers) > 0 {
			break // resolvers may remember what is gone
		}
		addrs, err := c.addrs(c.facts.Domain, s)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if seen[a] || !known[a.Is4()] || contains(c.facts.Addrs, a) {
				continue
			}
			seen[a] = true
			r := Record{Level: Recommended, Name: c.facts.Domain, Type: family(a), TTL: ttl, Data: a.String(), Value: a.String(), Priority: -1, Why: "leads elsewhere"}
			out = append(out, Result{Record: r, State: Wrong, Found: []string{a.String()},
				Problem: "The domain leads to " + a.String() + " too, which is no address of this machine (see dns.addresses).",
				Change:  "remove: " + r.Line()})
		}
	}
	return out
}

func contains(all []netip.Addr, a netip.Addr) bool {
	for _, b := range all {
		if a == b {
			return true
		}
	}
	return false
}
