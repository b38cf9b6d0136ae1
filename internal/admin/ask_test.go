package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type question struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// answering serves one handler for POST /verb and gives a client.
func answering(t *testing.T, h http.Handler) (*Server, *Client) {
	t.Helper()
	dir := t.TempDir()
	s, err := Listen(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	s.Handle("POST /verb", h)
	s.Serve(someStatus)
	return s, Dial(dir)
}

// A question gets its answer, and an error comes back in its own words.
func TestAskGetsTheAnswerOrTheError(t *testing.T) {
	_, c := answering(t, Answer(func(_ context.Context, q question) ([]question, error) {
		if q.N < 0 {
			return nil, errors.New("below zero")
		}
		return []question{q, {"next", q.N + 1}}, nil
	}))
	var got []question
	if err := c.Ask(t.Context(), "/verb", question{"one", 1}, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]question{{"one", 1}, {"next", 2}}, got); d != "" {
		t.Error(d)
	}
	err := c.Ask(t.Context(), "/verb", question{N: -1}, &got)
	if f, ok := errors.AsType[*Fault](err); !ok || f.Text != "below zero" {
		t.Errorf("%v", err)
	}
	if err := c.Ask(t.Context(), "/verb", nil, &got); err != nil || got[0] != (question{}) {
		t.Errorf("no question: %v %v", got, err)
	}
}

// What is no question never reaches the function.
func TestBadQuestionsAreRefused(t *testing.T) {
	_, c := answering(t, Answer(func(_ context.Context, q question) (question, error) {
		t.Errorf("called with %v", q)
		return q, nil
	}))
	var got question
	for _, bad := range []any{
		map[string]any{"nam": "a misspelled member"}, "text", []int{1}, question{Name: strings.Repeat("x", maxQuestion)},
	} {
		err := c.Ask(t.Context(), "/verb", bad, &got)
		if _, ok := errors.AsType[*Fault](err); !ok {
			t.Errorf("%.40v: %v", bad, err)
		}
	}
}

// A relay of another version says no more than that.
func TestUnknownVerbIsToldClearly(t *testing.T) {
	_, c := answering(t, Answer(func(_ context.Context, q question) (question, error) { return q, nil }))
	var got question
	if err := c.Ask(t.Context(), "/other", nil, &got); err == nil || !strings.Contains(err.Error(), "does not know this command") {
		t.Error(err)
	}
	if err := Dial(t.TempDir()).Ask(t.Context(), "/verb", nil, &got); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

// Each value arrives while the work still goes on.
func TestStreamArrivesAsItGoes(t *testing.T) {
	seen := make(chan bool)
	_, c := answering(t, Stream(func(_ context.Context, q question, send func(any) error) error {
		for i := range q.N {
			if err := send(question{q.Name, i}); err != nil {
				return err
			}
			<-seen
		}
		if q.Name == "bad" {
			return errors.New("it went wrong")
		}
		return nil
	}))
	for name, want := range map[string]string{"good": "", "bad": "it went wrong"} {
		n := 0
		err := Follow(t.Context(), c, "/verb", question{name, 3}, func(q question) error {
			if q != (question{name, n}) {
				t.Errorf("%v at %d", q, n)
			}
			n++
			seen <- true
			return nil
		})
		text := ""
		if err != nil {
			text = err.Error()
		}
		if n != 3 || text != want {
			t.Errorf("%s: %d values, %q", name, n, text)
		}
	}
}

// Who reads no longer ends the work.
func TestStreamEndsWithItsReader(t *testing.T) {
	ended := make(chan error, 1)
	_, c := answering(t, Stream(func(ctx context.Context, _ question, send func(any) error) error {
		err := send(1)
		<-ctx.Done()
		ended <- ctx.Err()
		return err
	}))
	enough := errors.New("enough")
	if err := Follow(t.Context(), c, "/verb", nil, func(int) error { return enough }); err != enough {
		t.Errorf("%v", err)
	}
	if err := <-ended; err == nil {
		t.Error("not ended")
	}
}

// A relay that stops ends its streams, and does not wait for the work.
func TestCloseEndsStreams(t *testing.T) {
	begun := make(chan bool)
	s, c := answering(t, Stream(func(ctx context.Context, _ question, _ func(any) error) error {
		close(begun)
		<-ctx.Done()
		return errors.New("stopped")
	}))
	followed := make(chan error, 1)
	go func() { followed <- Follow(context.Background(), c, "/verb", nil, func(int) error { return nil }) }()
	<-begun
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-followed; err == nil {
		t.Error("a stream that was ended counts as whole")
	}
}

// A stream that breaks off is not taken for a whole one.
func TestBrokenStreamIsAnError(t *testing.T) {
	_, c := answering(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"value":1}` + "\n"))
	}))
	n := 0
	if err := Follow(t.Context(), c, "/verb", nil, func(v int) error { n += v; return nil }); err == nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}
