package preflight

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"barid/internal/finding"
)

// MailServers are those with which port 25 to the outside is tried, unless
// others are named. One that greets is enough.
func MailServers() []string {
	return []string{"nine.testrun.org:25", "gmail-smtp-in.l.google.com:25"}
}

// reach bounds one attempt to reach the outside.
const reach = 5 * time.Second

// Outgoing tries to reach a mail server on port 25, which hosters often
// block.
func Outgoing(ctx context.Context, servers []string) []finding.Finding {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, s := range servers {
		all.Go(func() {
			if errs[i] = greeted(ctx, s); errs[i] == nil {
				cancel() // one is enough
			}
		})
	}
	all.Wait()
	unknown := len(servers) > 0
	for _, err := range errs {
		if err == nil {
			return nil
		}
		_, ok := errors.AsType[*net.DNSError](err)
		unknown = unknown && ok
	}
	if unknown {
		return []finding.Finding{{ID: "smtp.untried", Severity: finding.Warning,
			Text:   "Port 25 to the outside could not be tried: this machine cannot look up the names of mail servers.",
			Remedy: "Repair its resolver (/etc/resolv.conf), or name one in dns.resolver."}}
	}
	return []finding.Finding{{ID: "smtp.blocked", Severity: finding.Warning,
		Text:   "No mail server can be reached on port 25 from here; the hoster probably blocks it.",
		Remedy: "Ask the hoster to open it. Until then relays that take mail over HTTPS are reached, and classic mail servers are not."}}
}

// greeted tells whether a mail server says its first line.
func greeted(ctx context.Context, server string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	line, err := bufio.NewReader(io.LimitReader(conn, 1000)).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "220") {
		return fmt.Errorf("it says %.20q", line)
	}
	return nil
}

// born is before every version of this program.
var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tolerance is how wrong a clock may be.
const tolerance = 2 * time.Minute

// Clock looks whether the time is right: whether the kernel says that
// something keeps it so, and, where authority is the URL of a server, what that
// server's clock says. Certificates and signatures depend on it.
func Clock(ctx context.Context, authority string) (found []finding.Finding) {
	now := time.Now()
	remedy := "Set it, and have it kept: install chrony or systemd-timesyncd."
	if now.Before(born) {
		return []finding.Finding{{ID: "clock.wrong", Severity: finding.Fault,
			Text: "The clock says " + now.UTC().Format(time.DateTime) + " UTC, which is past.", Remedy: remedy}}
	}
	if state, err := unix.Adjtimex(&unix.Timex{}); err == nil && state == unix.TIME_ERROR {
		found = append(found, finding.Finding{ID: "clock.unkept", Severity: finding.Warning,
			Text: "Nothing keeps the clock of this machine right.", Remedy: "Install chrony or systemd-timesyncd."})
	}
	if authority == "" {
		return found
	}
	theirs, err := dateOf(ctx, authority)
	if err != nil {
		return append(found, finding.Finding{ID: "acme.unreachable", Severity: finding.Warning,
			Text:   fmt.Sprintf("The certificate authority at %s does not answer: %v.", authority, err),
			Remedy: "Look at the resolver and the firewall: port 443 to the outside must be open."})
	}
	if wrong := now.Sub(theirs); wrong.Abs() > tolerance {
		found = append(found, finding.Finding{ID: "clock.wrong", Severity: finding.Fault,
			Text: fmt.Sprintf("The clock is wrong by %s: certificates and signatures will not hold.", wrong.Abs().Round(time.Second)), Remedy: remedy})
	}
	return found
}

// dateOf asks a server for the time. Its certificate is not looked at: with a
// wrong clock none would hold, and all that is taken from it is a warning.
func dateOf(ctx context.Context, url string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	client := http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the URL, which the caller names
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("not in time")
		}
		return time.Time{}, err
	}
	answer.Body.Close()
	return http.ParseTime(answer.Header.Get("Date"))
}

// Incoming tries to reach addresses of the relay from here, as others would:
// "203.0.113.7:993". It is a hint: some networks let nobody come back to the
// address that he has outside.
func Incoming(ctx context.Context, addrs []string) (found []finding.Finding) {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	errs := make([]error, len(addrs))
	var all sync.WaitGroup
	for i, a := range addrs {
		all.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", a)
			if errs[i] = err; err == nil {
				conn.Close()
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			found = append(found, finding.Finding{ID: "port.unreachable", Severity: finding.Warning,
				Text:   "Nobody answers at " + addrs[i] + ", as far as can be seen from this machine.",
				Remedy: "Let the firewall, and a router in front, pass this port."})
		}
	}
	return found
}
