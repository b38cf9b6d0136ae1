package transmit

import (
	"fmt"
	"sync"
	"time"

	"barid/internal/finding"
)

const (
	// enoughHosts is how many hosts must have shut their port 25 to us before
	// that is taken for our own trouble.
	enoughHosts = 3
	maxShut     = 100
)

// ports remembers whether the ports of others can be reached at all.
type ports struct {
	mu sync.Mutex // guards the fields below
	// shut are hosts whose port for SMTP could not be connected to, since the
	// last one that could.
	shut    map[string]bool
	since   time.Time // of the first of them
	byHTTPS time.Time // when a host was last spoken to by HTTPS
}

// connected notes how a connection for SMTP went.
func (p *ports) connected(host string, works bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case works:
		p.shut = nil
	case p.shut == nil:
		p.shut, p.since = map[string]bool{host: true}, now
	case len(p.shut) < maxShut:
		p.shut[host] = true
	}
}

// answered notes that HTTPS works.
func (p *ports) answered(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byHTTPS = now
}

// Findings tells what an operator should know of the ways out.
func (t *Transmitter) Findings() []finding.Finding {
	if t.cfg.HTTPSOnly {
		return []finding.Finding{{
			ID: "federation.https-only", Severity: finding.Info,
			Text:   "Mail leaves by HTTPS only: other chatmail relays get it, mail for any other server fails at once.",
			Remedy: "Set federation.outgoing = \"on\" when port 25 of other servers can be reached from here.",
		}}
	}
	p := &t.ports
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.shut) < enoughHosts {
		return nil
	}
	what := "no other way was needed meanwhile"
	if p.byHTTPS.After(p.since) {
		what = "HTTPS works, so that it seems to be blocked by the provider"
	}
	return []finding.Finding{{
		ID: "federation.port-25-blocked", Severity: finding.Fault,
		Text: fmt.Sprintf("Port %d of no mail server could be reached for %v, of %d that were tried; %s.",
			t.cfg.SMTPPort, t.cfg.Now().Sub(p.since).Round(time.Second), len(p.shut), what),
		Remedy: "Have the provider open outgoing port 25; where he will not, set federation.outgoing = \"https\", so that senders hear at once what cannot be delivered.",
	}}
}
