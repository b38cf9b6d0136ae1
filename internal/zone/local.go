package zone

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// LocalAddrs gives the addresses of this machine at which the world could
// reach it: no private ones, none that come and go.
func LocalAddrs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	passing := map[netip.Addr]bool{}
	if f, err := os.Open("/proc/net/if_inet6"); err == nil {
		passing = passingAddrs(f)
		f.Close()
	}
	var public []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if addr := p.Addr().Unmap(); isPublic(addr) && !passing[addr] && !slices.Contains(public, addr) {
			public = append(public, addr)
		}
	}
	slices.SortFunc(public, func(a, b netip.Addr) int {
		if a.Is4() != b.Is4() {
			return len(a.AsSlice()) - len(b.AsSlice()) // IPv4 first
		}
		return a.Compare(b)
	})
	return public, nil
}

// carrierNAT is shared by the customers of a provider (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierNAT.Contains(a)
}

// Flags of an IPv6 address in /proc/net/if_inet6 (linux/if_addr.h).
const (
	flagTemporary  = 0x01
	flagDeprecated = 0x20
	flagTentative  = 0x40
)

// passingAddrs reads from /proc/net/if_inet6 the addresses that are not there
// to stay.
func passingAddrs(r io.Reader) map[netip.Addr]bool {
	passing := map[netip.Addr]bool{}
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 {
			continue
		}
		octets, err := hex.DecodeString(fields[0])
		flags, flagErr := strconv.ParseUint(fields[4], 16, 32)
		if addr, ok := netip.AddrFromSlice(octets); ok && err == nil && flagErr == nil && flags&(flagTemporary|flagDeprecated|flagTentative) != 0 {
			passing[addr] = true
		}
	}
	return passing
}
