package transmit

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// byChannel says by which channel something went wrong.
type byChannel struct {
	channel string
	err     error
}

func (e *byChannel) Error() string { return e.channel + ": " + e.err.Error() }
func (e *byChannel) Unwrap() error { return e.err }

// hidden is an error whose text has been made fit for replies, logs and the
// operator: one line, every cause named, no address in it.
type hidden struct {
	text string
	err  error
}

func (h *hidden) Error() string { return h.text }
func (h *hidden) Unwrap() error { return h.err }

// hide makes an error fit to be shown.
func hide(err error) error {
	if err == nil {
		return nil
	}
	return &hidden{explain(err), err}
}

// explain writes an error with all its causes. Errors of package net name
// addresses, those of package url what was asked: neither is told.
func explain(err error) string {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var parts []string
		for _, one := range e.Unwrap() {
			if text := explain(one); len(parts) == 0 || parts[len(parts)-1] != text {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, "; ")
	case *byChannel:
		return map[string]string{SMTP: "SMTP", HTTPS: "HTTPS"}[e.channel] + ": " + explain(e.err)
	case *hidden:
		return e.text
	case *url.Error:
		return explain(e.Err)
	case *tls.CertificateVerificationError:
		return "certificate: " + e.Err.Error()
	case *net.OpError:
		return (&net.OpError{Op: e.Op, Net: e.Net, Err: e.Err}).Error()
	}
	if inner := errors.Unwrap(err); inner != nil {
		// What is around a cause stays where it can be told apart.
		if before, ok := strings.CutSuffix(err.Error(), inner.Error()); ok {
			return before + explain(inner)
		}
		if _, ok := asOp(err); ok {
			return explain(inner)
		}
	}
	return fmt.Sprint(err)
}
