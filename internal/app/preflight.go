package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/machine"
	"barid/internal/preflight"
	"barid/internal/zone"
)

// Preflight looks whether a machine can run a relay that does not run yet: its
// ports, its addresses, its clock, its memory and disk, and port 25 to the
// outside, tried with these mail servers. A Fault is in the way of a start.
func Preflight(ctx context.Context, cfg *config.Config, mailServers []string) []finding.Finding {
	return slices.Concat(preflight.Ports(portsOf(cfg)), MachineFindings(ctx, cfg, mailServers))
}

// MachineFindings is Preflight without the ports, which a running relay has.
func MachineFindings(ctx context.Context, cfg *config.Config, mailServers []string) []finding.Finding {
	authority := ""
	if cfg.TLS.Mode == config.TLSACME {
		authority = cfg.ACME.Directory
	}
	return slices.Concat(
		addressFindings(cfg), roomFindings(cfg), preflight.Clock(ctx, authority), preflight.Outgoing(ctx, mailServers),
	)
}

// portsOf lists what will be listened on, Unix sockets left out.
func portsOf(cfg *config.Config) (ports []preflight.Port) {
	for _, name := range cfg.Listen.Names() {
		for _, addr := range cfg.Listen.Addrs(name) {
			if !strings.HasPrefix(addr, "unix:") {
				ports = append(ports, preflight.Port{Name: "listen." + name, Addr: addr})
			}
		}
	}
	return ports
}

func addressFindings(cfg *config.Config) []finding.Finding {
	if addrs, err := publicAddrs(cfg); err != nil || len(addrs) > 0 {
		return nil
	}
	return []finding.Finding{{ID: "address.private", Severity: finding.Warning,
		Text:   "This machine has no public address; it is behind a router or another machine.",
		Remedy: "Let that pass the relay's ports on, and put its public addresses into dns.addresses."}}
}

// roomFindings compares memory and disk with what new accounts want.
func roomFindings(cfg *config.Config) (found []finding.Finding) {
	dir := existing(cfg.DataDir)
	w := machine.New(machine.Config{
		Limits: machine.Limits{
			MinMemory: int64(cfg.Limits.MinAvailableMemory), MinDisk: int64(cfg.Limits.MinFreeDiskSpace), MinInodes: int64(cfg.Limits.MinFreeInodes),
		},
		Disk: func() (octets, inodes uint64, err error) {
			var s unix.Statfs_t
			if err := unix.Statfs(dir, &s); err != nil {
				return 0, 0, err
			}
			if s.Files == 0 {
				s.Ffree = 1 << 40 // a file system that makes inodes as it needs them
			}
			return s.Bavail * uint64(s.Bsize), s.Ffree, nil
		},
	})
	words := map[string][2]string{
		"memory": {"memory", "Give the machine more, or lower limits.min_available_memory."},
		"disk":   {"free disk space at " + cfg.DataDir, "Make room, or lower limits.min_free_disk_space."},
		"inodes": {"free inodes at " + cfg.DataDir, "Use another file system, or lower limits.min_free_inodes."},
	}
	for _, r := range w.Readings() {
		if words, known := words[r.Name]; known && r.Refusing {
			found = append(found, finding.Finding{ID: "machine." + r.Name, Severity: finding.Fault,
				Text: fmt.Sprintf("There is too little %s for any account: %s of %s.", words[0], amount(r, r.Value), amount(r, r.Limit)), Remedy: words[1]})
		}
	}
	return found
}

func amount(r machine.Reading, v float64) string {
	if r.Octets {
		return strconv.Itoa(int(v/(1<<20))) + "M"
	}
	return strconv.Itoa(int(v))
}

// existing gives the nearest directory above a path, or the path itself, that
// is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
		above := filepath.Dir(path)
		if above == path {
			return path
		}
		path = above
	}
}

// ReachFindings tries the relay's ports at its public addresses, from here.
func ReachFindings(ctx context.Context, cfg *config.Config) []finding.Finding {
	addrs, err := publicAddrs(cfg)
	if ip, ipErr := netip.ParseAddr(cfg.Domain); ipErr == nil {
		addrs, err = []netip.Addr{ip}, nil
	}
	if err != nil {
		return nil // told by others
	}
	var targets []string
	for _, a := range addrs {
		for _, on := range [][]string{cfg.Listen.SMTP, cfg.Listen.HTTPS, cfg.Listen.HTTP, cfg.Listen.IMAPS, cfg.Listen.Submissions} {
			if port := firstPort(on); port != 0 {
				targets = append(targets, net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
			}
		}
	}
	return preflight.Incoming(ctx, targets)
}

// ZoneFindings puts what a check of the zone found into findings.
func ZoneFindings(r zone.Report) (found []finding.Finding) {
	for _, one := range r.Results {
		severity := finding.Info
		switch {
		case !one.Bad() || one.Level == zone.Optional:
			continue
		case one.Level == zone.Required:
			severity = finding.Fault
		case one.Level == zone.Recommended:
			severity = finding.Warning
		}
		text := fmt.Sprintf("The DNS record %s %s is %s.", one.Type, one.Name, one.State)
		if one.Problem != "" {
			text += " " + one.Problem
		}
		remedy := `See "barid dns check".`
		if one.Change != "" {
			remedy = strings.ToUpper(one.Change[:1]) + one.Change[1:]
		}
		found = append(found, finding.Finding{ID: "dns." + strings.ToLower(one.Type), Severity: severity, Text: text, Remedy: remedy})
	}
	for _, remark := range r.Remarks {
		found = append(found, finding.Finding{ID: "dns.server", Severity: finding.Warning, Text: remark, Remedy: "Look at the delegation of the zone and at its name servers."})
	}
	return found
}
