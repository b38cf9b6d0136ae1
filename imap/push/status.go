package push

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"barid/internal/finding"
	"barid/smtp"
)

// Status is how push is at one moment. It has no token, no account and no
// address.
type Status struct {
	Enabled    bool       `json:"enabled"`
	Gateway    string     `json:"gateway,omitempty"` // its host
	DownSince  *time.Time `json:"down_since,omitempty"`
	Waiting    int        `json:"waiting"` // on their way included
	MaxWaiting int        `json:"max_waiting"`
	OnTheWay   int        `json:"on_the_way"`
	Oldest     float64    `json:"oldest_seconds"` // age of the oldest that waits
	Discarded  int64      `json:"discarded"`      // since the start, as too many waited
	// Platforms has those of which a token was seen since the start: tokens are
	// looked at when mail comes for their account.
	Platforms []PlatformStatus `json:"platforms"`
}

// PlatformStatus is what is known of the tokens with one visible beginning.
type PlatformStatus struct {
	Platform string `json:"platform"` // see Platform
	Tokens   int    `json:"tokens"`   // seen since the start, at most 100,000 of all platforms
	// Newest and Oldest are ages in seconds: since a device last set its token.
	Newest float64 `json:"newest_seconds"`
	Oldest float64 `json:"oldest_seconds"`
	// What became of requests since the start; Failed is given up.
	Sent   uint64 `json:"sent"`
	Gone   uint64 `json:"gone"`
	Failed uint64 `json:"failed"`
	// Last says what became of the last request, LastAt when.
	Last   string     `json:"last,omitempty"`
	LastAt *time.Time `json:"last_at,omitempty"`
}

// result notes what became of a request.
func (s *seen) result(d digest, platform uint8, status int, err error, now time.Time) {
	t := &s.platforms[platform]
	t.last, t.at = told(status, err), now
	switch status {
	case http.StatusOK:
		t.sent++
	case http.StatusGone:
		t.gone++
		s.forget(d)
	}
}

// failed notes that a wake-up was given up.
func (s *seen) failed(platform uint8) { s.platforms[platform].failed++ }

// Status tells how push is.
func (s *Sender) Status() Status {
	now := s.cfg.Now()
	st := Status{
		Enabled: true, Gateway: hostOf(s.cfg.URL), MaxWaiting: s.cfg.MaxWaiting,
		Oldest: s.oldest().Seconds(), Discarded: s.discarded.Load(), Platforms: []PlatformStatus{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Waiting, st.OnTheWay = len(s.queue.items), s.queue.flying
	if ms := s.gate.downSince(); ms > 0 {
		since := s.wall(ms)
		st.DownSince = &since
	}
	var all [len(platforms)]PlatformStatus
	for _, sight := range s.seen.tokens {
		p := &all[sight.platform]
		age := now.Sub(time.Unix(int64(sight.set), 0)).Seconds()
		if p.Tokens++; p.Tokens == 1 {
			p.Newest, p.Oldest = age, age
		}
		p.Newest, p.Oldest = min(p.Newest, age), max(p.Oldest, age)
	}
	for i, p := range all {
		t := &s.seen.platforms[i]
		if p.Tokens == 0 && t.last == "" {
			continue
		}
		p.Platform, p.Sent, p.Gone, p.Failed, p.Last = platforms[i], t.sent, t.gone, t.failed, t.last
		if !t.at.IsZero() {
			at := t.at
			p.LastAt = &at
		}
		st.Platforms = append(st.Platforms, p)
	}
	return st
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

// oldest gives the age of the oldest wake-up that waits.
func (s *Sender) oldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.oldest == nil {
		return 0
	}
	return max(time.Duration(s.now()-s.queue.oldest.queued)*time.Millisecond, 0)
}

// downFor is how long a gateway is down until an operator is told.
const downFor = time.Minute

// Findings tells what an operator should know: that wake-ups pile up.
func (s *Sender) Findings() []finding.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, age := len(s.queue.items), time.Duration(0)
	if since := s.gate.downSince(); since > 0 {
		age = time.Duration(s.now()-since) * time.Millisecond
	}
	switch {
	case n > 0 && age >= downFor:
		return []finding.Finding{{
			ID: "push.backlog", Severity: finding.Warning,
			Text: fmt.Sprintf("Push backlog: %d wake-ups of sleeping devices wait, as the gateway has not answered for %s.",
				n, age.Round(time.Minute)),
			Remedy: fmt.Sprintf("See whether this machine may connect to %s (`barid push status` has the last result); mail itself is not affected, and what waits is sent when the gateway answers.",
				hostOf(s.cfg.URL)),
		}}
	case n > s.cfg.MaxWaiting/2:
		return []finding.Finding{{
			ID: "push.backlog", Severity: finding.Warning,
			Text:   fmt.Sprintf("Push backlog: %d wake-ups of sleeping devices wait, of at most %d.", n, s.cfg.MaxWaiting),
			Remedy: "The gateway takes them slower than mail comes; `barid push status` has its last result.",
		}}
	}
	return nil
}

// TestResult is what became of one token of Test.
type TestResult struct {
	Platform string  `json:"platform"`
	Age      float64 `json:"age_seconds"` // since its device last set it
	Status   int     `json:"status,omitempty"`
	Result   string  `json:"result"`
	Took     float64 `json:"took_ms"`
	OK       bool    `json:"ok"`
}

// Test posts every token of an account now, one after the other and past the
// queue, and gives each result to tell. A token that is gone is removed, as
// ever. The error is the store's, ctx's or that of tell.
func (s *Sender) Test(ctx context.Context, a smtp.Address, tell func(TestResult) error) error {
	tokens, err := s.tokens(ctx, a)
	if err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	for _, t := range tokens {
		began := s.cfg.Now()
		status, err := s.post(ctx, t.text)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took := s.cfg.Now().Sub(began)
		if status == http.StatusGone {
			s.removeToken(a, t.text, began)
		}
		s.mu.Lock()
		s.seen.note(t.digest, t.text, t.set)
		s.seen.result(t.digest, platformOf(t.text), status, err, s.cfg.Now())
		s.mu.Unlock()
		if err := tell(TestResult{
			Platform: Platform(t.text), Age: began.Sub(t.set).Seconds(), Status: status, Result: told(status, err),
			Took: float64(took.Microseconds()) / 1000, OK: status == http.StatusOK,
		}); err != nil {
			return err
		}
	}
	return nil
}
