package relay

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/metrics"
	"barid/relay/wire"
)

// takeover is a ResponseWriter whose connection can be taken over.
type takeover struct {
	http.ResponseWriter
	conn net.Conn
}

func (w takeover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// pipe connects a P3 client in a bubble of fake time.
func pipe(t *testing.T, s *Server) *peer {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	r := httptest.NewRequest("GET", "/relay", nil)
	r.Header.Set("Upgrade", rawUpgrade)
	go s.ServeHTTP(takeover{httptest.NewRecorder(), theirs}, r)
	p := &peer{t: t, dialect: wire.P3, conn: ours, in: bufio.NewReader(ours), key: wire.KeyOf(seed(1))}
	if _, err := http.ReadResponse(p.in, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// inTime runs a test with a relay in a bubble of fake time.
func inTime(t *testing.T, cfg Config, do func(t *testing.T, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		s := New(cfg)
		do(t, s)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Who does not log in has ten seconds.
func TestSilenceBeforeLogin(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server) {
		p := pipe(t, s)
		began := time.Now()
		if err := p.closed(); !errors.Is(err, io.EOF) || time.Since(began) != loginTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Who is silent is asked after 15 to 20 seconds, and cut when he does not
// answer; who answers stays.
func TestSilenceAfterLogin(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server) {
		p := pipe(t, s)
		p.sendRaw(wire.AppendClientInfo(nil, seed(1)))
		for range 10 {
			began := time.Now()
			f := p.recv()
			if took := time.Since(began); f.Kind != wire.Ping || took < silence || took > silence+6*time.Second {
				t.Fatalf("%+v after %v", f, took)
			}
			p.send(wire.Frame{Kind: wire.Pong, Echo: f.Echo})
		}
		for range 10 { // who talks is not asked
			time.Sleep(10 * time.Second)
			if got := p.sync(); len(got) != 0 {
				t.Fatalf("%+v", got)
			}
		}
		began := time.Now()
		if err := p.closed(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if took := time.Since(began); took < silence+answerTime || took > silence+answerTime+6*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

// A frame that began must end, however slowly its octets trickle; between
// frames there is all the time.
func TestAFrameThatDoesNotEnd(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server) {
		p := pipe(t, s)
		p.sendRaw(wire.AppendClientInfo(nil, seed(1)))
		began := time.Now()
		var trickle sync.WaitGroup
		defer trickle.Wait()
		trickle.Go(func() {
			for _, err := p.conn.Write([]byte{4, 0, 0, 1}); err == nil; _, err = p.conn.Write([]byte{0}) {
				time.Sleep(time.Second)
			}
		})
		p.closed()
		if took := time.Since(began); took < frameTime || took > frameTime+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A client that sends more than it may is slowed down to that, nothing of it
// is lost.
func TestRateOfAConnection(t *testing.T) {
	const rate, burst = 100_000, 200_000
	m := metrics.New()
	inTime(t, Config{BytesPerSecond: rate, Burst: burst, Metrics: m}, func(t *testing.T, s *Server) {
		p := pipe(t, s)
		counted := &site{t: t, s: s, m: m}
		p.sendRaw(wire.AppendClientInfo(nil, seed(1)))
		p.sync()
		if n := counted.value("relayserver_bytes_rx_ratelimited_total_total"); n != 0 {
			t.Errorf("%v octets are said to be too many", n)
		}
		began := time.Now()
		const packets, size = 20, 60_000
		go func() {
			for range packets {
				p.send(wire.Frame{Kind: wire.Datagrams, Key: p.key, Data: make([]byte, size)})
			}
		}()
		for range packets {
			for f := p.recv(); f.Kind != wire.Datagrams; f = p.recv() {
				p.send(wire.Frame{Kind: wire.Pong, Echo: f.Echo})
			}
		}
		least := time.Duration(float64(packets*size-burst-largeChunk) / rate * float64(time.Second))
		if took := time.Since(began); took < least || took > least+3*time.Second {
			t.Errorf("it took %v, not %v", took, least)
		}
		// What the burst has room for came at once, and all else was late.
		late := float64(packets*size - burst)
		if n := counted.value("relayserver_bytes_rx_ratelimited_total_total"); n < late || n > late+2*largeChunk {
			t.Errorf("%v octets were late, not %v", n, late)
		}
		if n := counted.value("relayserver_frames_rx_ratelimited_total_total"); n < late/size || n > packets {
			t.Errorf("%v frames were late, not %v", n, late/size)
		}
		if n := counted.value("relayserver_conns_rx_ratelimited_total_total"); n != 1 {
			t.Errorf("%v connections sent too much", n)
		}
	})
}
