package e2e

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"barid/test/harness"
)

// iceServer asks for what an account is told of TURN, as its client does, and
// makes of it what the client gives to its browser; at another listener, over
// TLS, when one is named.
func iceServer(t *testing.T, r *harness.Relay, name string, overTLS bool) webrtc.ICEServer {
	t.Helper()
	const entry = "/shared/vendor/deltachat/turn"
	c, _ := imapFor(t, r)
	if err := c.Login(r.Address(name), harness.PasswordOf(name).Wire()).Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := c.GetMetadata("", []string{entry}, nil).Wait()
	if err != nil || data.Entries[entry] == nil {
		t.Fatalf("no TURN in METADATA: %v %v", data, err)
	}
	f := strings.SplitN(string(*data.Entries[entry]), ":", 4)
	if len(f) != 4 || f[0] != r.Domain {
		t.Fatalf("told %q", f)
	}
	url := "turn:127.0.0.1:" + f[1] + "?transport=udp"
	if overTLS {
		_, port, _ := net.SplitHostPort(r.Addr("turns"))
		url = "turns:127.0.0.1:" + port + "?transport=tcp"
	}
	return webrtc.ICEServer{URLs: []string{url}, Username: f[2], Credential: f[3]}
}

// tlsDialer connects to the relay's TLS ports, with its certificate looked at.
type tlsDialer struct{ config *tls.Config }

// Dial implements proxy.Dialer.
func (d tlsDialer) Dial(network, addr string) (net.Conn, error) {
	return tls.Dial(network, addr, d.config)
}

// newPeer makes one end of a call, which may use the relay and nothing else.
func newPeer(t *testing.T, r *harness.Relay, name string, overTLS bool) *webrtc.PeerConnection {
	t.Helper()
	var s webrtc.SettingEngine
	if overTLS {
		s.SetICEProxyDialer(tlsDialer{r.TLSConfig()})
	}
	p, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{
		ICEServers: []webrtc.ICEServer{iceServer(t, r, name, overTLS)}, ICETransportPolicy: webrtc.ICETransportPolicyRelay,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// introduce lets two ends of a call know of each other, with all candidates.
func introduce(caller, callee *webrtc.PeerConnection) error {
	offer, err := caller.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(caller)
	if err := caller.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	if err := callee.SetRemoteDescription(*caller.LocalDescription()); err != nil {
		return err
	}
	answer, err := callee.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered = webrtc.GatheringCompletePromise(callee)
	if err := callee.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	return caller.SetRemoteDescription(*callee.LocalDescription())
}

// Two who cannot reach each other call each other through their relay: nothing
// but relayed addresses is offered, and a message goes there and back.
func TestCallThroughTheRelayAlone(t *testing.T) {
	for way, overTLS := range map[string]bool{"UDP": false, "TLS": true} {
		t.Run(way, func(t *testing.T) {
			r := harness.New(t, harness.Options{})
			alice, bob := newPeer(t, r, "alice1234", overTLS), newPeer(t, r, "bob123456", overTLS)
			said := make(chan string, 2)
			bob.OnDataChannel(func(c *webrtc.DataChannel) {
				c.OnMessage(func(m webrtc.DataChannelMessage) { c.SendText(string(m.Data) + ", said Bob") })
			})
			c, err := alice.CreateDataChannel("call", nil)
			if err != nil {
				t.Fatal(err)
			}
			c.OnOpen(func() { c.SendText("hello") })
			c.OnMessage(func(m webrtc.DataChannelMessage) { said <- string(m.Data) })
			if err := introduce(alice, bob); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-said:
				if got != "hello, said Bob" {
					t.Errorf("heard %q", got)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("nothing was heard; connections are %v and %v", alice.ICEConnectionState(), bob.ICEConnectionState())
			}
			for name, p := range map[string]*webrtc.PeerConnection{"alice": alice, "bob": bob} {
				pair, err := p.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
				if err != nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay || pair.Remote.Typ != webrtc.ICECandidateTypeRelay {
					t.Errorf("%s talks over %v, %v", name, pair, err)
				}
			}
			if err := errors.Join(alice.Close(), bob.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}
