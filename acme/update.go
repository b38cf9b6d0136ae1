package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// DNSUpdate is a name server that takes dynamic updates (RFC 2136), signed
// with TSIG (RFC 8945). With it a relay proves its names where no authority
// can reach its ports.
type DNSUpdate struct {
	// Server is its address and port; it must be the primary server of the
	// domain's zone. It is asked over TCP.
	Server string
	// KeyName, Algorithm and Secret are those of the TSIG key: a domain name,
	// such as "hmac-sha256", and base64. Without KeyName updates are unsigned.
	KeyName, Algorithm, Secret string
}

// Bounds of one update.
const (
	updateTimeout = 20 * time.Second
	updateTTL     = time.Minute
)

// solver gives what certmagic meets dns-01 with.
func (d *DNSUpdate) solver(logger zapLog) *certmagic.DNS01Solver {
	return &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider: d,
		TTL:         updateTTL,
		Resolvers:   []string{d.Server},
		Logger:      logger,
	}}
}

// AppendRecords implements libdns.RecordAppender.
func (d *DNSUpdate) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return d.change(ctx, zone, records, (*dns.Msg).Insert)
}

// DeleteRecords implements libdns.RecordDeleter.
func (d *DNSUpdate) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return d.change(ctx, zone, records, (*dns.Msg).Remove)
}

// change sends one update of TXT records, the only ones that are asked for.
func (d *DNSUpdate) change(ctx context.Context, zone string, records []libdns.Record, how func(*dns.Msg, []dns.RR)) ([]libdns.Record, error) {
	var rrs []dns.RR
	for _, r := range records {
		rr := r.RR()
		if rr.Type != "TXT" || len(rr.Data) > 255 {
			return nil, fmt.Errorf("update of %s: only short TXT records are made", zone)
		}
		rrs = append(rrs, &dns.TXT{
			Hdr: dns.RR_Header{Name: dns.Fqdn(libdns.AbsoluteName(rr.Name, zone)), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(updateTTL / time.Second)},
			Txt: []string{rr.Data},
		})
	}
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	how(m, rrs)
	if err := d.send(ctx, m); err != nil {
		return nil, fmt.Errorf("update of %s at %s: %w", zone, d.Server, err)
	}
	return records, nil
}

// send sends a message and looks at the answer's code.
func (d *DNSUpdate) send(ctx context.Context, m *dns.Msg) error {
	if _, _, err := net.SplitHostPort(d.Server); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	c := &dns.Client{Net: "tcp", Timeout: updateTimeout}
	if d.KeyName != "" {
		name := dns.CanonicalName(d.KeyName)
		c.TsigSecret = map[string]string{name: d.Secret}
		m.SetTsig(name, dns.Fqdn(d.Algorithm), 300, time.Now().Unix())
	}
	answer, _, err := c.ExchangeContext(ctx, m, d.Server)
	switch {
	case err != nil:
		return err
	case answer.Rcode != dns.RcodeSuccess:
		return errors.New("the server answers " + dns.RcodeToString[answer.Rcode])
	}
	return nil
}
