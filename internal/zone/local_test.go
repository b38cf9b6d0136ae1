package zone

import (
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyAddressesThatStayAndLeadHere(t *testing.T) {
	passing := passingAddrs(strings.NewReader(`20010db8000000000000000000000007 02 40 00 80     eth0
20010db8000000000000000000000008 02 40 00 01     eth0
20010db8000000000000000000000009 02 40 00 20     eth0
zz 02 40 00 20 eth0
short
`))
	for text, want := range map[string]bool{"2001:db8::7": false, "2001:db8::8": true, "2001:db8::9": true} {
		if passing[netip.MustParseAddr(text)] != want {
			t.Errorf("%s passes: %v", text, !want)
		}
	}
	for text, want := range map[string]bool{
		"192.0.2.7": true, "2001:db8::7": true, "10.1.1.1": false, "192.168.0.1": false, "100.64.1.1": false,
		"127.0.0.1": false, "::1": false, "fe80::1": false, "fd00::1": false, "169.254.1.1": false, "224.0.0.1": false,
	} {
		if isPublic(netip.MustParseAddr(text)) != want {
			t.Errorf("%s is public: %v", text, !want)
		}
	}
	if _, err := LocalAddrs(); err != nil {
		t.Error(err)
	}
}
