package transmit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"barid/smtp"
	"barid/smtp/wire"
)

const (
	// deliveryPath is where relays take mail.
	deliveryPath = "/mxdeliv"
	// inMemory is the largest message that is made ready in memory, so that a
	// connection that was closed meanwhile costs nothing.
	inMemory = 256 << 10
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 10
	// quietly bounds the wait for an answer after the content has left.
	quietly = time.Minute
)

// errAsAWhole: a host has refused several recipients with one reply, which
// does not say whom it means.
var errAsAWhole = errors.New("several recipients were refused with one reply")

// errNoRelay: what answers on port 443 takes no mail.
var errNoRelay = errors.New("no mail is taken by HTTPS")

// webClient makes the client for one kind of trust.
func (t *Transmitter) webClient(trust trust) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				name, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				h := host{name: name}
				h.addr, _ = netip.ParseAddr(name)
				return t.dialer.dial(ctx, h, t.cfg.HTTPSPort)
			},
			TLSClientConfig:        &tls.Config{RootCAs: t.cfg.Roots, InsecureSkipVerify: trust != verified, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    t.cfg.Connect,
			ResponseHeaderTimeout:  quietly,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns:           inAll,
			MaxIdleConnsPerHost:    perHost,
			IdleConnTimeout:        idleTime,
			DisableCompression:     true,
		},
	}
}

// client gives the one that fits the demands. Where TLS is not demanded, a
// host must still prove itself to be spoken to by HTTPS.
func (a *attempt) client() *http.Client {
	if a.want.trust == anyCertificate {
		return a.t.web[anyCertificate]
	}
	return a.t.web[verified]
}

func (a *attempt) url() string {
	return "https://" + net.JoinHostPort(a.host.name, strconv.Itoa(int(a.t.cfg.HTTPSPort))) + deliveryPath
}

// knock finds out whether a host takes mail by HTTPS: a relay says to GET that
// another method is wanted. Nothing of the message is told.
func (t *Transmitter) knock(ctx context.Context, a *attempt) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Connect+quietly)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client().Do(req)
	if err != nil {
		return hide(err)
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusMethodNotAllowed {
		return fmt.Errorf("%w: GET %s answers %d", errNoRelay, deliveryPath, resp.StatusCode)
	}
	t.known.note(a.key, HTTPS, true, 0)
	t.ports.answered(t.cfg.Now())
	return nil
}

func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
}

// https posts the message. An error says that nothing was delivered and that
// another channel may do better; errAsAWhole is in it when the host answered,
// but only SMTP, or a post for each, will tell what it has against which
// recipient.
func (a *attempt) https(ctx context.Context) (out Outcome, err error) {
	t := a.t
	began := t.cfg.Now()
	if order, race := t.known.best(a.key); race || order[0] != HTTPS {
		if err := t.knock(ctx, a); err != nil {
			t.known.note(a.key, HTTPS, false, 0)
			return Outcome{}, err
		}
	}
	req, err := a.request(ctx)
	if err != nil {
		return Outcome{}, err
	}
	resp, err := a.client().Do(req)
	if err != nil {
		t.known.note(a.key, HTTPS, false, 0)
		return Outcome{}, hide(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode == http.StatusOK {
		t.known.note(a.key, HTTPS, true, t.since(began))
		t.ports.answered(t.cfg.Now())
		out = all(a.m, smtp.NewReply(250, "2.0.0", "OK (HTTPS)"))
		out.Reached, out.Channel = true, HTTPS
		return out, nil
	}
	reply := wire.ParseReply(text)
	if err != nil || reply == nil || reply.Code < 400 {
		t.known.note(a.key, HTTPS, false, 0)
		return Outcome{}, fmt.Errorf("%w: POST %s answers %d", errNoRelay, deliveryPath, resp.StatusCode)
	}
	t.known.note(a.key, HTTPS, true, 0)
	if len(a.m.To) > 1 {
		return Outcome{}, fmt.Errorf("%w: %s", errAsAWhole, reply.Wire())
	}
	out = all(a.m, forward(a.host, net.JoinHostPort(a.host.name, strconv.Itoa(int(t.cfg.HTTPSPort))), reply))
	out.Reached, out.Channel = true, HTTPS
	return out, nil
}

// oneByOne posts the message for each recipient by itself, where SMTP is of no
// use to find out who was meant by a refusal of all.
func (a *attempt) oneByOne(ctx context.Context) (Outcome, error) {
	out := Outcome{Reached: true, Channel: HTTPS, Per: make([]*smtp.Reply, len(a.m.To))}
	for i := range a.m.To {
		one := *a
		one.m.To = a.m.To[i : i+1]
		got, err := one.https(ctx)
		if err != nil {
			out.Per[i] = smtp.NewReply(451, "4.4.2", "%s did not answer for this recipient: %v", a.host.name, hide(err))
			continue
		}
		out.Per[i] = got.Per[0]
	}
	return out, nil
}

// request makes the POST: the envelope in header fields, the content as after
// DATA, dots doubled, without the end.
func (a *attempt) request(ctx context.Context) (*http.Request, error) {
	body, size, err := a.body()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("User-Agent", "barid")
	if !a.m.From.IsNull() {
		req.Header.Set("X-Mail-From", a.m.From.Address.Wire())
	}
	for _, to := range a.m.To {
		req.Header.Add("X-Mail-To", to.Wire())
	}
	return req, nil
}

// counter counts octets.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// body gives the content with its length.
func (a *attempt) body() (io.Reader, int64, error) {
	stuff := func(w io.Writer) error {
		s := wire.NewStuffer(w)
		if _, err := io.Copy(s, a.m.reader()); err != nil {
			return err
		}
		return s.End()
	}
	if a.m.size() <= inMemory {
		var buf bytes.Buffer
		if err := stuff(&buf); err != nil {
			return nil, 0, err
		}
		return bytes.NewReader(buf.Bytes()), int64(buf.Len()), nil
	}
	var size counter
	if err := stuff(&size); err != nil {
		return nil, 0, err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(stuff(w)) }() // ends when the transport closes r
	return r, int64(size), nil
}
