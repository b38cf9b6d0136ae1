package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

const (
	// requestTime bounds a request, its answer included.
	requestTime = 60 * time.Second
	// maxAnswer is how much of an answer is read, in octets; nothing in it
	// matters.
	maxAnswer = 4 << 10
)

// newTransport makes the way to the gateway: HTTP/2 where the gateway speaks
// it, over connections that are kept.
func newTransport(cfg Config) *http.Transport {
	parallel := cfg.Parallel
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer(cfg.LookUp),
		TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    20 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConnsPerHost:    parallel,
		MaxConnsPerHost:        parallel,
		IdleConnTimeout:        5 * time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// dialer connects to the gateway; lookUp gives its addresses, nil leaves that
// to the system.
func dialer(lookUp func(context.Context, string) ([]netip.Addr, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	if lookUp == nil {
		return d.DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err == nil {
			return d.DialContext(ctx, network, addr)
		}
		addrs, err := lookUp(ctx, host)
		if err != nil {
			return nil, err
		}
		var failed []error
		for _, a := range addrs {
			conn, err := d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
			if err == nil {
				return conn, nil
			}
			failed = append(failed, err)
		}
		return nil, errors.Join(failed...)
	}
}

// post sends one token and gives the status of the answer. Redirects are
// statuses like any other. An error says what kind of thing went wrong, and
// names neither token nor address.
func (s *Sender) post(ctx context.Context, token string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, strings.NewReader(token))
	if err != nil {
		return 0, errors.New("push.url cannot be asked")
	}
	req.Header.Set("User-Agent", "barid")
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return 0, &gatewayError{kindOf(err), err}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, nil // ctx does not end reading what follows
	}
	// What is read to its end lets the connection serve the next request.
	if _, err := io.CopyN(io.Discard, resp.Body, maxAnswer); err != nil && err != io.EOF && ctx.Err() != nil {
		return 0, &gatewayError{kindOf(ctx.Err()), err}
	}
	return resp.StatusCode, nil
}

// gatewayError is why there was no answer, in words that may be logged.
type gatewayError struct {
	kind  string
	cause error
}

func (e *gatewayError) Error() string { return e.kind }
func (e *gatewayError) Unwrap() error { return e.cause }

// kindOf puts an error of the network in a few words: its own text has
// addresses.
func kindOf(err error) string {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		late interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns):
		return "the gateway's name does not resolve"
	case errors.As(err, &cert):
		return "the gateway's certificate is not trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the gateway refuses connections"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "the gateway cannot be reached"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return "the gateway does not answer in time"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "the connection to the gateway broke, or what came was no HTTP"
}

// judge says what an answer means for the gateway.
func judge(status int, err error) outcome {
	switch {
	case err != nil:
		return down
	case status == http.StatusOK, status == http.StatusGone:
		return answered
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return down
	}
	return refused
}

// told puts an answer in words, for people.
func told(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	switch status {
	case http.StatusOK:
		return "sent"
	case http.StatusGone:
		return "gone: the gateway knows the device no more"
	}
	return fmt.Sprintf("the gateway answers %d", status)
}
