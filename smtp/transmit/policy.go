package transmit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"barid/smtp"
)

// Bounds of MTA-STS (RFC 8461).
const (
	maxPolicy    = 64 << 10 // octets (section 3.2)
	maxPolicies  = 1000     // domains that are remembered
	maxPolicyAge = 31557600 // seconds (section 3.2)
	policyWait   = 10 * time.Second
	policyRetry  = 5 * time.Minute // after a failed fetch (section 3.3)
)

// policy is what a domain demands of its hosts.
type policy struct {
	id      string
	enforce bool
	mx      []string // patterns
	until   time.Time
}

// policies remembers those of domains.
type policies struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	known  map[string]policy
	failed map[string]time.Time // when not to ask again before
}

// underPolicy leaves in a route what the policy of its domain allows.
func (t *Transmitter) underPolicy(ctx context.Context, r *route) (*route, *smtp.Reply) {
	p, ok := t.policyOf(ctx, r.dest)
	if !ok || !p.enforce {
		return r, nil
	}
	r.hosts = slices.DeleteFunc(r.hosts, func(h host) bool { return !p.allows(h.name) })
	if len(r.hosts) == 0 {
		return nil, smtp.NewReply(421, "4.7.0", "The MTA-STS policy of %s names none of its mail servers", r.dest)
	}
	return r, nil
}

// allows compares a host with the patterns (section 4.1).
func (p policy) allows(host string) bool {
	return slices.ContainsFunc(p.mx, func(pattern string) bool {
		if rest, ok := strings.CutPrefix(pattern, "*."); ok {
			_, parent, _ := strings.Cut(host, ".")
			return parent == rest
		}
		return pattern == host
	})
}

// policyOf gives the policy of a domain. A new one is fetched when the domain
// publishes another id; when that fails, the one before counts until it is
// over (section 5.1).
func (t *Transmitter) policyOf(ctx context.Context, domain string) (policy, bool) {
	now := t.cfg.Now()
	t.sts.mu.Lock()
	p, have := t.sts.known[domain]
	retry := t.sts.failed[domain]
	t.sts.mu.Unlock()
	have = have && now.Before(p.until)
	id := t.policyID(ctx, domain)
	if id == "" || have && id == p.id || now.Before(retry) {
		return p, have
	}
	fetched, err := t.fetchPolicy(ctx, domain)
	t.sts.mu.Lock()
	defer t.sts.mu.Unlock()
	if err != nil {
		t.log.Debug("MTA-STS policy not available", "error", hide(err))
		t.sts.failed = bounded(t.sts.failed)
		t.sts.failed[domain] = now.Add(policyRetry)
		return p, have
	}
	fetched.id = id
	t.sts.known = bounded(t.sts.known)
	t.sts.known[domain] = fetched
	return fetched, true
}

// bounded makes room for one more, at the cost of any other.
func bounded[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	for name := range m {
		if len(m) < maxPolicies {
			break
		}
		delete(m, name)
	}
	return m
}

// policyID gives what the domain's record says, "" when it has none
// (section 3.1).
func (t *Transmitter) policyID(ctx context.Context, domain string) string {
	answer, err := t.cfg.Resolver.TXT(ctx, "_mta-sts."+domain)
	if err != nil {
		return ""
	}
	var id string
	n := 0
	for _, text := range answer.Records {
		fields := strings.Split(text, ";")
		if strings.TrimSpace(fields[0]) != "v=STSv1" {
			continue
		}
		n++
		for _, f := range fields[1:] {
			if v, ok := strings.CutPrefix(strings.TrimSpace(f), "id="); ok {
				id = v
			}
		}
	}
	if n != 1 || len(id) > 32 {
		return ""
	}
	return id
}

// fetchPolicy asks the domain's policy host (section 3.3).
func (t *Transmitter) fetchPolicy(ctx context.Context, domain string) (policy, error) {
	ctx, cancel := context.WithTimeout(ctx, policyWait)
	defer cancel()
	url := "https://" + net.JoinHostPort("mta-sts."+domain, strconv.Itoa(int(t.cfg.HTTPSPort))) + "/.well-known/mta-sts.txt"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return policy{}, err
	}
	resp, err := t.web[verified].Do(req)
	if err != nil {
		return policy{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return policy{}, fmt.Errorf("policy of %s: status %d", domain, resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return policy{}, fmt.Errorf("policy of %s: not text/plain", domain)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy+1))
	if err != nil {
		return policy{}, err
	}
	return parsePolicy(text, t.cfg.Now())
}

// errPolicy is inside every error about a policy that is none.
var errPolicy = errors.New("not an MTA-STS policy")

// parsePolicy reads a policy (section 3.2).
func parsePolicy(text []byte, now time.Time) (policy, error) {
	if len(text) > maxPolicy {
		return policy{}, fmt.Errorf("%w: more than %d octets", errPolicy, maxPolicy)
	}
	var p policy
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxPolicy+1)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
		case key == "mx":
			p.mx = append(p.mx, strings.ToLower(value))
		case values[key] == "":
			values[key] = value
		}
	}
	age, err := strconv.ParseUint(values["max_age"], 10, 32)
	switch {
	case values["version"] != "STSv1":
		return policy{}, fmt.Errorf("%w: version %q", errPolicy, values["version"])
	case err != nil:
		return policy{}, fmt.Errorf("%w: max_age %q", errPolicy, values["max_age"])
	}
	p.until = now.Add(time.Duration(min(age, maxPolicyAge)) * time.Second)
	switch mode := values["mode"]; mode {
	case "enforce":
		p.enforce = true
	case "testing", "none":
		return p, nil
	default:
		return policy{}, fmt.Errorf("%w: mode %q", errPolicy, mode)
	}
	if len(p.mx) == 0 {
		return policy{}, fmt.Errorf("%w: no mx", errPolicy)
	}
	return p, nil
}
