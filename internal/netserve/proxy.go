package netserve

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// proxyTimeout bounds the wait for the header of a proxy.
	proxyTimeout = 5 * time.Second
	// maxProxyHeader bounds one of version 2: addresses, and what proxies like
	// to tell beside.
	maxProxyHeader = 4096
	// maxProxyLine is what version 1 allows, the line's end included.
	maxProxyLine = 107
	// shortestProxy is no longer than any header.
	shortestProxy = 8
)

// errNoProxy is what a connection from a proxy begins with instead.
var errNoProxy = errors.New("no PROXY header where there must be one")

// proxied tells whether a connection comes from one of the listener's proxies,
// and therefore begins with the PROXY protocol.
func (a *acceptor) proxied(raw net.Conn) bool {
	if raw.RemoteAddr().Network() == "unix" {
		return a.ProxyUnix
	}
	client := clientOf(raw)
	return slices.ContainsFunc(a.Proxies, func(p netip.Prefix) bool { return p.Contains(client) })
}

// behindProxy lets a connection in once its proxy said whose it is.
func (a *acceptor) behindProxy(raw net.Conn) {
	defer a.s.work.Done()
	raw.SetDeadline(time.Now().Add(proxyTimeout))
	client, err := readProxy(raw, clientOf(raw))
	if err != nil {
		a.s.refused.WithLabelValues(a.Name, "proxy").Inc()
		a.s.log.Debug("no header from a proxy", "listener", a.Name, "error", private(err))
		raw.Close()
		return
	}
	raw.SetDeadline(time.Time{})
	a.enter(NewConn(raw, client))
}

// readProxy reads a header of the PROXY protocol, version 1 or 2, and not one
// octet more. It gives the client; that is peer where the proxy speaks for
// itself (its own checks) or does not know.
func readProxy(r io.Reader, peer netip.Addr) (netip.Addr, error) {
	text, err := proxyHeader(r)
	if err != nil {
		return netip.Addr{}, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("PROXY header: %w", err)
	}
	if source, _, ok := h.TCPAddrs(); ok && !h.Command.IsLocal() {
		return source.AddrPort().Addr().Unmap().WithZone(""), nil
	}
	return peer, nil
}

// proxyHeader reads the octets of a header, which ends where it says.
func proxyHeader(r io.Reader) ([]byte, error) {
	text := make([]byte, shortestProxy, maxProxyLine)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(text, []byte("PROXY ")):
		for text[len(text)-1] != '\n' {
			if len(text) == maxProxyLine {
				return nil, errNoProxy
			}
			text = text[:len(text)+1]
			if _, err := io.ReadFull(r, text[len(text)-1:]); err != nil {
				return nil, err
			}
		}
		return text, nil
	case bytes.HasPrefix(text, proxyproto.SIGV2[:shortestProxy]):
		text = text[:16]
		if _, err := io.ReadFull(r, text[shortestProxy:]); err != nil {
			return nil, err
		}
		rest := int(binary.BigEndian.Uint16(text[14:]))
		if rest > maxProxyHeader {
			return nil, fmt.Errorf("PROXY header of %d octets, at most %d are read", rest, maxProxyHeader)
		}
		text = append(text, make([]byte, rest)...)
		_, err := io.ReadFull(r, text[16:])
		return text, err
	}
	return nil, errNoProxy
}
