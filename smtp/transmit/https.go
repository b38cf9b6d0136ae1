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
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"sync/atomic"
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
	// quietly bounds each wait for a peer: for a piece of content to leave, and
	// for the answer.
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
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Connect+t.quietly)
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
	status, text, left, err := a.post(ctx)
	if err != nil {
		t.known.note(a.key, HTTPS, false, 0)
		if !left {
			return Outcome{}, hide(err)
		}
		// As with SMTP, it may have arrived: another way now would double it.
		out = all(a.m, smtp.NewReply(451, "4.4.2", "Connection to %s lost while it was to acknowledge the message by HTTPS", a.host.name))
		out.Reached, out.Channel = true, HTTPS
		return out, nil
	}
	if status == http.StatusOK {
		t.known.note(a.key, HTTPS, true, t.since(began))
		t.ports.answered(t.cfg.Now())
		out = all(a.m, smtp.NewReply(250, "2.0.0", "OK (HTTPS)"))
		out.Reached, out.Channel = true, HTTPS
		return out, nil
	}
	reply := wire.ParseReply(text)
	if reply == nil || reply.Code < 400 {
		t.known.note(a.key, HTTPS, false, 0)
		return Outcome{}, fmt.Errorf("%w: POST %s answers %d", errNoRelay, deliveryPath, status)
	}
	t.known.note(a.key, HTTPS, true, 0)
	if len(a.m.To) > 1 {
		return Outcome{}, fmt.Errorf("%w: %s", errAsAWhole, reply.Wire())
	}
	out = all(a.m, forward(a.host, net.JoinHostPort(a.host.name, strconv.Itoa(int(t.cfg.HTTPSPort))), reply))
	out.Reached, out.Channel = true, HTTPS
	return out, nil
}

// errQuiet: a host let a minute pass.
var errQuiet = errors.New("nothing happened for too long")

// post sends the message and gives the answer: a piece of the content leaves,
// or of the answer comes, within quietly each. After an error, left tells that
// all of the content had gone.
func (a *attempt) post(ctx context.Context) (status int, text []byte, left bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(a.t.quietly, func() { cancel(errQuiet) })
	defer quiet.Stop()
	moved := func() { quiet.Reset(a.t.quietly) }
	var gone atomic.Bool
	req, err := a.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { gone.Store(false); moved() }, // the first time, or again
		WroteRequest: func(w httptrace.WroteRequestInfo) { gone.Store(w.Err == nil); moved() },
	}), moved)
	if err != nil {
		return 0, nil, false, err
	}
	resp, err := a.client().Do(req)
	if err != nil {
		return 0, nil, gone.Load(), cause(ctx, err)
	}
	defer resp.Body.Close()
	moved()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode == http.StatusOK {
		err = nil // that was the answer, whatever is told beside it
	}
	return resp.StatusCode, text, gone.Load(), cause(ctx, err)
}

// cause says why ctx ended, where that is what an error comes from.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errQuiet) {
		return errQuiet
	}
	return err
}

// watched tells of each piece that is read.
type watched struct {
	io.ReadCloser
	moved func()
}

func (w watched) Read(b []byte) (int, error) {
	w.moved()
	return w.ReadCloser.Read(b)
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
// DATA, dots doubled, without the end. Moved is called for each piece of it.
func (a *attempt) request(ctx context.Context, moved func()) (*http.Request, error) {
	body, size, err := a.body()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url(), body)
	if err != nil {
		return nil, err
	}
	if whole := req.GetBody; whole != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			again, err := whole()
			if err != nil {
				return nil, err
			}
			return watched{again, moved}, nil
		}
	}
	req.Body = watched{req.Body, moved}
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
