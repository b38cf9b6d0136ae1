package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Default gives the configuration that a file with nothing but the domain has.
func Default(domain string) *Config {
	return &Config{
		Domain:  domain,
		DataDir: defaultDataDir(),
		Listen: Listen{
			IMAPS: []string{"[::]:993"}, IMAP: []string{"[::]:143"},
			Submissions: []string{"[::]:465"}, Submission: []string{"[::]:587"},
			SMTP:  []string{"[::]:25"},
			HTTPS: []string{"[::]:443"}, HTTP: []string{"[::]:80"},
			TURN: []string{"[::]:3478"}, TURNS: []string{"[::]:5349"},
		},
		TLS:  TLS{Mode: defaultTLSMode(domain)},
		ACME: ACME{Directory: "https://acme-v02.api.letsencrypt.org/directory", DNSKeyAlgorithm: "hmac-sha256"},
		Accounts: Accounts{
			UsernameMinLength: 9, UsernameMaxLength: 9, PasswordMinLength: 9,
			Registration: RegistrationOpen, NameReuseAfter: 365 * day,
		},
		Expiry: Expiry{DeleteMailsAfter: 20 * day, DeleteLargeAfter: 7 * day, DeleteInactiveUsersAfter: 90 * day},
		Limits: Limits{
			MaxMessageSize: 30 * Mebi, MaxMailboxSize: 500 * Mebi,
			MaxUserSendPerMinute: 60, MaxUserSendBurstSize: 10, MaxSMTPRecipients: 1000,
			MaxConnections: 20000, MaxIMAPConnections: 10000, MaxSMTPConnections: 1000,
			IMAPPerClient: 1000, SubmissionPerClient: 200,
			MaxReceiveConnections: 1000, ReceivePerClient: 50, ReceivePerMinute: 6000, ReceiveBurst: 1000,
			HTTPSPerClient: 1000, TURNPerClient: 200, IMAPSessionsPerAccount: 100,
			NewBurst: 100, NewPerSecond: 1, SignupBurst: 100, SignupPerSecond: 1,
			MaxLoad1m: 5, MinAvailableMemory: 200 * Mebi, MinFreeDiskSpace: 1 * Gibi, MinFreeInodes: 20_000,
		},
		Storage: Storage{Sync: SyncAlways, FreshMemory: 32 * Mebi, SettleAfter: Duration(10 * time.Second)},
		IMAP: IMAP{
			Keepalive:         Duration(4 * time.Minute),
			LoginCapabilities: []string{"IMAP4rev1", "IDLE", "METADATA", "XCHATMAIL", "XDELTAPUSH", "LITERAL+", "QUOTA"},
			AppVersions:       AppVersionsShipped,
		},
		Iroh: Iroh{
			Enabled: true, MaxClients: 10000, PerClient: 250, BytesPerSecond: 4 * Mebi, Burst: 16 * Mebi, Memory: 128 * Mebi,
		},
		Push: Push{Enabled: true, URL: "https://notifications.delta.chat/notify"},
		DERP: DERP{MaxClients: 1000},
		TURN: TURN{
			Enabled: true, MinPort: 49152, MaxPort: 65535, MaxAllocations: 1000, PerAccount: 10,
			BytesPerSecond: 1 * Mebi, BytesPerDay: 20 * Gibi, Idle: Duration(10 * time.Minute),
		},
		Log: Log{Level: "info", Format: LogText},

		Federation: Federation{
			AddressLiterals: LiteralsChecked, UnderscoreDomains: true,
			Outgoing: OutgoingOn, CleartextDomains: []string{"nauta.cu"}, SMTPPort: 25, HTTPSPort: 443,
			FirstRetry: Duration(time.Minute), MaxRetry: Duration(time.Hour), Lifetime: Duration(48 * time.Hour),
			WarnAfter: Duration(4 * time.Hour), MaxAttempts: 200, MaxQueued: 250_000,
		},
	}
}

// defaultTLSMode is "acme" where clients check certificates.
func defaultTLSMode(domain string) string {
	if _, err := netip.ParseAddr(domain); err == nil || strings.HasPrefix(domain, "_") {
		return TLSSelfSigned
	}
	return TLSACME
}

func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/barid"
	}
	return "barid-data"
}

// AnyMachine lets accounts be born whatever the machine is busy with: for
// relays that are thrown away.
func (l *Limits) AnyMachine() {
	l.MaxLoad1m, l.MinAvailableMemory, l.MinFreeDiskSpace, l.MinFreeInodes = 0, 0, 0, 0
}

// demoPort is where the listeners of a demo begin.
const demoPort = 10025

// Demo gives a relay for a first look: no name in the DNS, no root, all
// listeners on 127.0.0.1. Ports go up from 10025; one that is taken when Demo
// looks is left out.
func Demo(dataDir string) (*Config, error) {
	c := Default("_demo.test")
	c.DataDir = dataDir
	c.Federation.Outgoing = OutgoingOff // nobody could answer
	c.Log.Level = "warn"                // the invites stay on the screen
	c.Push.Enabled = false              // a first look calls nobody
	c.Listen.SMTP = nil                 // and no other server knows its name
	c.Listen.TURNS = nil
	c.TURN.Announce = "127.0.0.1" // no DNS knows the domain
	c.Limits.AnyMachine()
	port := demoPort
	for _, addrs := range []*[]string{
		&c.Listen.Submissions, &c.Listen.Submission, &c.Listen.IMAPS, &c.Listen.IMAP, &c.Listen.HTTPS, &c.Listen.HTTP, &c.Listen.TURN,
	} {
		addr, err := freeAddr(&port)
		if err != nil {
			return nil, err
		}
		*addrs = []string{addr}
	}
	return c, nil
}

// freeAddr finds the next port that can be listened on, and moves port past it.
func freeAddr(port *int) (string, error) {
	for ; *port < 1<<16; *port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", *port)
		if l, err := net.Listen("tcp", addr); err == nil {
			*port++
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port on 127.0.0.1 from %d up", demoPort)
}
