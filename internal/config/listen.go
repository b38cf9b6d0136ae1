package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// maxAddrs bounds the addresses of one listener.
const maxAddrs = 16

// Addrs gives the addresses of a listener by its key ("imaps"), nil when it
// is off or there is none of that name.
func (l *Listen) Addrs(name string) []string {
	if addrs := l.field(name); addrs != nil {
		return *addrs
	}
	return nil
}

// Set replaces the addresses of a listener by its key, if there is one.
func (l *Listen) Set(name string, addrs []string) {
	if have := l.field(name); have != nil {
		*have = addrs
	}
}

// proxiesKey is the key of the table that is no listener.
const proxiesKey = "proxies"

// field finds a listener by its key.
func (l *Listen) field(name string) *[]string {
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("toml"); tag == name && tag != proxiesKey {
			return v.Field(i).Addr().Interface().(*[]string)
		}
	}
	return nil
}

// Names lists the listeners, by key.
func (l *Listen) Names() []string {
	t := reflect.TypeFor[Listen]()
	var names []string
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("toml"); tag != proxiesKey {
			names = append(names, tag)
		}
	}
	return names
}

// bound is an address that is listened on.
type bound struct {
	key, text string
	addr      netip.AddrPort
}

func (k *checker) listen(l *Listen) {
	var all []bound
	for _, name := range l.Names() {
		key, addrs := "listen."+name, l.Addrs(name)
		if len(addrs) > maxAddrs {
			k.bad(key, "has more than %d addresses", maxAddrs)
			continue
		}
		for i, text := range addrs {
			if path, ok := strings.CutPrefix(text, "unix:"); ok {
				if name == "turn" || name == "turns" {
					k.badElement(key, i, "%s: clients come to it by their address, so it cannot be a Unix socket", quoteShort(text))
					continue
				}
				if why := checkSocket(path); why != "" {
					k.badElement(key, i, "%s: %s", quoteShort(text), why)
				}
				continue
			}
			addr, why := parseListen(text)
			if why == "" {
				why = restrict(name, addr.Addr())
			}
			if why != "" {
				k.badElement(key, i, "%s: %s", quoteShort(text), why)
				continue
			}
			b := bound{key, text, addr}
			k.collide(all, b, i)
			all = append(all, b)
		}
	}
}

// checkSocket tells why a path can be no Unix socket. The kernel allows 107
// octets (unix(7)).
func checkSocket(path string) string {
	switch {
	case !filepath.IsAbs(path):
		return `must be an absolute path, such as "unix:/run/barid/https"`
	case len(path) > 107:
		return "is longer than 107 octets"
	}
	return ""
}

// proxies judges the networks of proxies.
func (k *checker) proxies(list []string) {
	if len(list) > maxElements {
		k.bad("listen.proxies", "has more than %d elements", maxElements)
	}
	for i, text := range list {
		if _, err := parseNetwork(text); err != nil && text != "unix" {
			k.badElement("listen.proxies", i, `%s: must be a network such as "192.0.2.0/24", an address, or "unix"`, quoteShort(text))
		}
	}
}

// parseNetwork reads a network, or an address, which is a network of one.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// ProxyNetworks gives the networks of listen.proxies, and whether Unix sockets
// are among them.
func (l *Listen) ProxyNetworks() (networks []netip.Prefix, unix bool) {
	for _, text := range l.Proxies {
		if p, err := parseNetwork(text); err == nil {
			networks = append(networks, p)
		}
		unix = unix || text == "unix"
	}
	return networks, unix
}

// parseListen reads "address:port". An empty address is all of them, as
// "[::]" is; localhost is 127.0.0.1.
func parseListen(text string) (addr netip.AddrPort, why string) {
	const form = `must be address:port, such as "[::]:993" or "127.0.0.1:1993"`
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return addr, form
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return addr, "the port must be a number from 0 to 65535"
	}
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return addr, form
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ""
}

// restrict tells why a listener may not have an address.
func restrict(name string, ip netip.Addr) string {
	switch name {
	case "imap_clear", "submission_clear":
		if !ip.IsLoopback() {
			return "what it carries would travel in the clear, so only a loopback address is possible"
		}
	case "http_clear":
		if !private(ip) {
			return "what it carries would travel in the clear, so only a loopback or private address is possible"
		}
	case "metrics":
		if !private(ip) {
			return "metrics are for the operator, so only a loopback or private address is possible"
		}
	}
	return ""
}

// private tells whether an address is on this machine or in a network of one's
// own.
func private(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsPrivate() || shared.Contains(ip) || ip.IsLinkLocalUnicast()
}

// shared is the address space of carriers and overlay networks (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// collide tells when an address cannot be had beside one before it. Port 0 is
// any free one.
func (k *checker) collide(all []bound, b bound, element int) {
	for _, a := range all {
		if a.addr.Port() != b.addr.Port() || b.addr.Port() == 0 {
			continue
		}
		if a.key == b.key && a.addr == b.addr {
			k.badElement(b.key, element, "%s stands twice", quoteShort(b.text))
			return
		}
		if a.addr == b.addr || covers(a.addr.Addr(), b.addr.Addr()) || covers(b.addr.Addr(), a.addr.Addr()) {
			k.faults = append(k.faults, fault{[]string{b.key, a.key}, element,
				quoteShort(b.text) + " is taken by " + a.key + " = " + quoteShort(a.text)})
			return
		}
	}
}

// covers tells whether whoever listens on a takes the port on b too: "[::]"
// is every address, "0.0.0.0" every one of IPv4.
func covers(a, b netip.Addr) bool { return a.IsUnspecified() && (a.Is6() || b.Is4()) }
