package transmit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	maxAddrs = 8
	// headStart is how long an address has for itself before the next one is
	// tried beside it (RFC 8305 section 5).
	headStart = 250 * time.Millisecond
)

// dialer makes connections to hosts.
type dialer struct {
	resolver Resolver
	sources  []netip.Addr
	within   time.Duration
	ours     func(netip.AddrPort) bool
}

// dial connects to a port of a host: to the first of its addresses that
// answers. The two families take turns, IPv6 first.
func (d *dialer) dial(ctx context.Context, h host, port uint16) (net.Conn, error) {
	addrs := []netip.Addr{h.addr}
	if !h.addr.IsValid() {
		answer, err := d.resolver.Addrs(ctx, h.name)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", h.name, err)
		}
		addrs = takeTurns(answer.Records)
	}
	if d.ours != nil {
		all := len(addrs)
		addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return d.ours(netip.AddrPortFrom(a, port)) })
		if all > 0 && len(addrs) == 0 {
			return nil, loop(h.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs))
	var errs []error
	next, pending := 0, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if next < len(addrs) {
				addr := addrs[next]
				next++
				pending++
				go func() {
					conn, err := d.one(ctx, addr, port)
					results <- result{conn, err}
				}()
				timer.Reset(headStart)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				// The others end with ctx; one that is late is closed.
				go func() {
					for range pending {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				}()
				return r.conn, nil
			}
			errs = append(errs, r.err)
			if next < len(addrs) {
				timer.Reset(0)
			} else if pending == 0 {
				return nil, errors.Join(errs...)
			}
		}
	}
}

// one connects to one address, from the source address of its family.
func (d *dialer) one(ctx context.Context, addr netip.Addr, port uint16) (net.Conn, error) {
	// Connections are short or watched by deadlines: no keep-alive probes.
	nd := net.Dialer{KeepAlive: -1}
	if i := slices.IndexFunc(d.sources, func(s netip.Addr) bool { return s.Is4() == addr.Is4() }); i >= 0 {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.sources[i], 0))
	}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(port))))
	if err != nil {
		return nil, hide(err)
	}
	return conn, nil
}

// takeTurns puts addresses of both families into turns.
func takeTurns(addrs []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	for i := 0; i < max(len(six), len(four)) && len(out) < maxAddrs; i++ {
		if i < len(six) {
			out = append(out, six[i])
		}
		if i < len(four) {
			out = append(out, four[i])
		}
	}
	return out[:min(len(out), maxAddrs)]
}

// asOp finds an error of package net.
func asOp(err error) (*net.OpError, bool) { return errors.AsType[*net.OpError](err) }
