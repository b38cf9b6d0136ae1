package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"barid/imap/push"
	"barid/internal/admin"
	"barid/internal/app"
)

// pushTestTimeout bounds a test: a gateway that hangs takes a minute for each
// token.
const pushTestTimeout = 10 * time.Minute

func pushCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "push",
		Short: "Look after the waking of sleeping devices",
	}, pushStatusCommand(), pushTestCommand())
}

func pushStatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell how the waking of sleeping devices goes",
		Long: "Tell how the waking of sleeping devices goes.\n\n" +
			"Device tokens are counted by their visible beginning, once mail has come for\n" +
			"their account since the start of the relay. No token is ever shown.",
		Args: cobra.NoArgs,
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var s push.Status
		if err := asking.ask(cmd, statusTimeout, "/push/status", nil, &s); err != nil {
			return err
		}
		return asking.print(cmd, s, func(w io.Writer) error { return printPushStatus(w, s, time.Now()) })
	}
	return c
}

func pushTestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "test ACCOUNT",
		Short: "Wake the devices of an account now and tell what the gateway says",
		Args:  cobra.ExactArgs(1),
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		relay, err := asking.dial(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), pushTestTimeout)
		defer cancel()
		return failed(testPush(ctx, relay, args[0], *asking.json, cmd.OutOrStdout()))
	}
	return c
}

// testPush prints each result as it comes. It fails when one of them was not
// taken, or when there is no token.
func testPush(ctx context.Context, relay *admin.Client, account string, asJSON bool, w io.Writer) error {
	n, bad := 0, 0
	err := admin.Follow(ctx, relay, "/push/test", app.PushTest{Account: account}, func(r push.TestResult) error {
		n++
		if !r.OK {
			bad++
		}
		if asJSON {
			return json.NewEncoder(w).Encode(r)
		}
		_, err := fmt.Fprintf(w, "%-9s set %s ago: %s (%.0f ms)\n", r.Platform, age(r.Age), r.Result, r.Took)
		return err
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return errors.New("the account has no device token: none of its clients has asked to be woken within the last 90 days")
	case bad > 0:
		return fmt.Errorf("%d of %d tokens were not taken", bad, n)
	}
	return nil
}

func printPushStatus(w io.Writer, s push.Status, now time.Time) error {
	if !s.Enabled {
		_, err := fmt.Fprintln(w, "push is off (push.enabled)")
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "gateway: %s", s.Gateway)
	if s.DownSince != nil {
		fmt.Fprintf(&b, ", does not answer since %s", s.DownSince.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	fmt.Fprintf(&b, "\nwaiting: %d of at most %d", s.Waiting, s.MaxWaiting)
	if s.Waiting > 0 {
		fmt.Fprintf(&b, ", the oldest for %s", age(s.Oldest))
	}
	b.WriteByte('\n')
	if s.Discarded > 0 {
		fmt.Fprintf(&b, "discarded since the start, as too many waited: %d\n", s.Discarded)
	}
	if len(s.Platforms) == 0 {
		b.WriteString("no device token was seen since the start\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "\n%-9s %7s  %-13s %7s %6s %7s  %s\n", "tokens", "number", "set", "sent", "gone", "failed", "last result")
	for _, p := range s.Platforms {
		set := "-"
		if p.Tokens > 0 {
			set = age(p.Newest) + "-" + age(p.Oldest)
		}
		last := p.Last
		if p.LastAt != nil {
			last += ", " + age(now.Sub(*p.LastAt).Seconds()) + " ago"
		}
		fmt.Fprintf(&b, "%-9s %7s  %-13s %7d %6d %7d  %s\n", p.Platform, strconv.Itoa(p.Tokens), set, p.Sent, p.Gone, p.Failed, last)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// age gives seconds in their largest unit.
func age(seconds float64) string {
	d := time.Duration(max(seconds, 0) * float64(time.Second))
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
