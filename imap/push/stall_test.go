package push

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Tokens at which the gateway hangs hold up no other for longer than moments.
func TestTokensThatHangDoNotHoldUpOthers(t *testing.T) {
	for hanging, most := range map[int]time.Duration{1: time.Second, 32: 32*patience + time.Second} {
		bubble(t, nil, func(t *testing.T, r *rig) {
			r.gateway.say(func(_ int, token string) (int, error) {
				if strings.HasPrefix(token, "hang") {
					time.Sleep(requestTime - time.Second)
				}
				return 200, nil
			})
			for i := range hanging {
				r.store.set("hanging@relay.test", time.Now(), fmt.Sprintf("hang%d", i))
			}
			r.store.set("alice@relay.test", time.Now(), "good")
			r.mail("hanging@relay.test")
			pass(time.Millisecond)
			before := time.Now()
			r.mail("alice@relay.test")
			pass(10 * time.Minute)
			all := r.gateway.requests()
			if len(all) != hanging+1 {
				t.Errorf("%d requests", len(all))
			}
			for _, q := range all {
				if d := q.at.Sub(before); q.token == "good" && d > most {
					t.Errorf("with %d that hang the good one was posted after %v", hanging, d)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if q := r.queue; q.flying != 0 || q.slow != 0 || q.again != 0 {
				t.Errorf("flying %d, slow %d, again %d", q.flying, q.slow, q.again)
			}
		})
	}
}

// A gateway that changes the protocol, and then says nothing, has answered:
// neither the next request nor the end of the relay waits for it.
func TestAChangeOfProtocolIsAnAnswer(t *testing.T) {
	gateway := rawServer(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		conn.Read(make([]byte, 1))
	})
	_, s := sender(t, "http://"+gateway, nil)
	began := time.Now()
	status, err := s.post(t.Context(), "secret")
	if status != http.StatusSwitchingProtocols || err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("%d %v after %v", status, err, time.Since(began))
	}
}

// An operator of a relay with little mail is told of a gateway that is down
// after minutes, not only when a single wake-up failed often enough.
func TestABacklogOfOneIsToldWithinMinutes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.say(always(0, errDown))
		r.store.set("alice@relay.test", time.Now(), "secret")
		r.mail("alice@relay.test")
		pass(20 * time.Second)
		if list := r.Findings(); len(list) != 0 {
			t.Errorf("after 20 s: %v", list)
		}
		pass(2 * time.Minute)
		list := r.Findings()
		if len(list) != 1 || !strings.Contains(list[0].Text, "not answered for 2m") || r.Status().DownSince == nil {
			t.Errorf("findings %v", list)
		}
		r.gateway.say(nil)
		pass(10 * time.Minute)
		if list := r.Findings(); len(list) != 0 || r.Status().DownSince != nil {
			t.Errorf("after an answer: %v", list)
		}
	})
}
