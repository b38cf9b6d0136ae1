package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"barid/internal/admin"
	"barid/internal/finding"
	"barid/internal/netserve"
	"barid/smtp"
	"barid/turn"
)

// The names of TURN and STUN in ALPN (RFC 7443).
const (
	alpnTURN = "stun.turn"
	alpnSTUN = "stun.nat-discovery"
)

// callSilence bounds the wait for a client of TURN over TCP; the server has
// shorter ends of its own.
const callSilence = 20 * time.Minute

// calls is the TURN server with what it is told and asked.
type calls struct {
	*turn.Server
	secrets *turn.Secrets

	mu       sync.Mutex // guards the fields below; held while looking
	looked   time.Time
	findings []finding.Finding
}

func (a *App) makeTURN() error {
	c := &a.cfg.TURN
	if !c.Enabled {
		return nil
	}
	secrets, err := turn.OpenSecrets(a.dataPath("turn-secrets"), time.Now())
	if err != nil {
		return err
	}
	s, err := turn.New(turn.Config{
		Secrets:  secrets,
		External: c.ExternalAddrs(), MinPort: c.MinPort, MaxPort: c.MaxPort, AllowPeers: c.PeerNetworks(),
		MaxAllocations: c.MaxAllocations, PerUser: c.PerAccount,
		BytesPerSecond: int64(c.BytesPerSecond), BytesPerDay: int64(c.BytesPerDay), Idle: time.Duration(c.Idle),
		Logger: a.log, Metrics: a.metrics,
	})
	if err != nil {
		return err
	}
	a.calls = &calls{Server: s, secrets: secrets}
	a.onStop("calls", func(context.Context) error { return s.Close() })
	return nil
}

// listenUDP takes datagrams where a listener of TURN takes connections.
func (a *App) listenUDP(l netserve.Listener, addr net.Addr) error {
	if a.calls == nil || l.Name != "turn" {
		return nil
	}
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return fmt.Errorf("listen for turn: %w", err)
	}
	if _, err := a.calls.Listen(at); err != nil {
		return fmt.Errorf("listen for turn on UDP port %d: %w", at.Port(), err)
	}
	return nil
}

// ServeConn serves a client over TCP or TLS.
func (c *calls) ServeConn(ctx context.Context, conn *netserve.Conn) {
	conn.SetPace(netserve.Pace{Silence: callSilence})
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return // a Unix socket: who is there has no address to be called at
	}
	client := netip.AddrPortFrom(conn.Client(), remote.Port())
	c.Server.ServeConn(ctx, conn.Stream(), client, local)
}

// behind lets a listener of port 443 serve calls too: by ALPN, or by what a
// client says first that names no protocol, as WebRTC does.
func (c *calls) behind(l *netserve.Listener) {
	if c == nil {
		return
	}
	l.ALPN[alpnTURN], l.ALPN[alpnSTUN] = c, c
	l.Guess = func(first []byte) netserve.Handler {
		if turn.IsTURN(first) {
			return c
		}
		return nil
	}
}

// turnValue is what an account is told: "HOST:PORT:USERNAME:PASSWORD", empty
// for nothing. Clients split at the first three colons, so a host cannot have
// any.
func (a *App) turnValue(to smtp.Address) string {
	host := a.cfg.TURN.Announce
	if host == "" {
		host = a.names.host
	}
	port := a.turnPort()
	if a.calls == nil || port == 0 || strings.Contains(host, ":") {
		return ""
	}
	c := a.calls.secrets.Issue(to.Wire(), time.Now())
	return host + ":" + strconv.Itoa(int(port)) + ":" + c.Username + ":" + c.Password
}

// turnPort is the port that clients use.
func (a *App) turnPort() uint16 {
	at, err := netip.ParseAddrPort(a.Addr("turn"))
	if err != nil {
		return 0
	}
	return at.Port()
}

// turnFindings looks whether calls come through: two allocations are made, and
// a packet goes through both.
func (a *App) turnFindings() []finding.Finding {
	c := a.calls
	if c == nil || a.turnPort() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.looked.IsZero() && time.Since(c.looked) < probeEvery {
		return c.findings
	}
	c.findings = nil
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	if err := turn.Probe(ctx, "udp", loopbackOf(a.Addr("turn")), c.secrets.Issue("status", time.Now())); err != nil {
		c.findings = append(c.findings, finding.Finding{
			ID: "turn.unusable", Severity: finding.Fault,
			Text:   "Calls are not relayed: " + err.Error() + ".",
			Remedy: "Look at listen.turn and turn.min_port, and at the limit turn_allocations in this status.",
		})
	}
	c.findings = append(c.findings, a.turnBehindNAT()...)
	c.looked = time.Now()
	return c.findings
}

// turnBehindNAT tells of a host that the world does not know by its own
// addresses.
func (a *App) turnBehindNAT() []finding.Finding {
	at, err := netip.ParseAddrPort(a.Addr("turn"))
	if err != nil || !at.Addr().IsUnspecified() || len(a.cfg.TURN.External) > 0 {
		return nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, addr := range all {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() && !n.IP.IsPrivate() {
			return nil
		}
	}
	return []finding.Finding{{
		ID: "turn.nat", Severity: finding.Warning,
		Text:   "This host has no public IPv4 address, so clients are told of relayed addresses that they cannot reach.",
		Remedy: "Set turn.external to the address that the world knows, and forward the ports from turn.min_port to turn.max_port.",
	}}
}

// loopbackOf is where a listener at any address is reached over IPv4.
func loopbackOf(listening string) string {
	at, err := netip.ParseAddrPort(listening)
	if err != nil || !at.Addr().IsUnspecified() {
		return listening
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
}

var errTURNOff = errors.New("calls are off (turn.enabled)")

// TURNState is the answer to `barid turn status`.
type TURNState struct {
	Enabled     bool `json:"enabled"`
	Allocations int  `json:"allocations"`
	Max         int  `json:"max_allocations"`
}

// TURNRotated is the answer to `barid turn rotate`.
type TURNRotated struct {
	At time.Time `json:"at"`
}

// handleTURN answers `barid turn`.
func (a *App) handleTURN() {
	a.admin.Handle("POST /turn/status", admin.Answer(func(context.Context, struct{}) (TURNState, error) {
		s := TURNState{Enabled: a.calls != nil, Max: a.cfg.TURN.MaxAllocations}
		if a.calls != nil {
			s.Allocations = a.calls.Allocations()
		}
		return s, nil
	}))
	a.admin.Handle("POST /turn/rotate", admin.Answer(func(context.Context, struct{}) (TURNRotated, error) {
		if a.calls == nil {
			return TURNRotated{}, errTURNOff
		}
		now := time.Now()
		return TURNRotated{now}, a.calls.secrets.Rotate(now)
	}))
}
