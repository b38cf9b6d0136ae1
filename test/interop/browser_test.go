package interop

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
	"barid/test/netlab"
)

// signalling passes on what two ends of a call say before they can hear each
// other, and gives each its page.
type signalling struct {
	page  []byte
	calls [2][]byte      // what each is told to do
	says  [2]chan []byte // the description of each
	ended chan callEnded
}

// callEnded is how a call went for one end.
type callEnded struct {
	Error        string
	Relayed      float64 // milliseconds until it had its relayed address
	Audio, Video int     // packets from the other one
	Own, Other   string  // types of the addresses in use
}

// serve lets one end ask under its own path.
func (s *signalling) serve(mux *http.ServeMux, end int, path string) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { w.Write(s.page) })
	mux.HandleFunc("GET "+path+"call", func(w http.ResponseWriter, _ *http.Request) { w.Write(s.calls[end]) })
	mux.HandleFunc("POST "+path+"says", func(_ http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err == nil {
			s.says[end] <- text
		}
	})
	mux.HandleFunc("GET "+path+"heard", func(w http.ResponseWriter, r *http.Request) {
		select {
		case text := <-s.says[1-end]:
			w.Write(text)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST "+path+"ended", func(_ http.ResponseWriter, r *http.Request) {
		var e callEnded
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			e.Error = err.Error()
		}
		s.ended <- e
	})
}

// Two browsers in networks that have no way to each other talk, with sound and
// picture, through the relay alone; each gives it the credentials that
// METADATA has for its account.
func TestInteropCallOfTwoBrowsers(t *testing.T) {
	need(t, "chromium", "chromium")
	netlab.Run(t, func(t *testing.T) {
		r := harness.New(t, harness.Options{Change: func(c *config.Config) {
			c.Listen.TURN = []string{netlab.Hall + ":3478"}
			c.TURN.Announce = netlab.Hall
		}})
		page, err := os.ReadFile("testdata/call.html")
		if err != nil {
			t.Fatal(err)
		}
		s := &signalling{page: page, ended: make(chan callEnded, 2)}
		mux := http.NewServeMux()
		for end, name := range []string{"alice1234", "bob123456"} {
			user, password := turnCredentials(t, r, name)
			s.says[end] = make(chan []byte, 1)
			if s.calls[end], err = json.Marshal(map[string]any{"caller": end == 0, "iceServers": []any{
				map[string]string{"urls": "turn:" + netlab.Hall + ":3478", "username": user, "credential": password},
			}}); err != nil {
				t.Fatal(err)
			}
			s.serve(mux, end, "/"+name+"/")
		}
		l, err := net.Listen("tcp", netlab.Hall+":0")
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Server{Handler: mux}
		go web.Serve(l)
		t.Cleanup(func() { web.Close() })
		for end, name := range []string{"alice1234", "bob123456"} {
			browse(t, netlab.NewRoom(t, end+1), "http://"+l.Addr().String(), "/"+name+"/")
		}
		for range 2 {
			select {
			case e := <-s.ended:
				t.Logf("%+v", e)
				if e.Error != "" || e.Own != "relay" || e.Other != "relay" {
					t.Errorf("a call went so: %+v", e)
				}
			case <-time.After(patience):
				t.Fatal("no call came about")
			}
		}
	})
}

// browse opens a page in a browser in a room, with a made-up camera and
// microphone, until the test ends.
func browse(t *testing.T, room *netlab.Room, origin, path string) {
	t.Helper()
	dir := t.TempDir()
	cmd := room.Command("chromium", harness.Browser(dir, origin+path,
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--unsafely-treat-insecure-origin-as-secure="+origin)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}
