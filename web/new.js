// Asks for an invitation and puts it in the place of the button, which leads
// to the same without this script.
fetch("/new.html" + location.search, {cache: "no-store"})
  .then((answer) => answer.ok ? answer.text() : Promise.reject(answer.status))
  .then((text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("invite");
    if (fresh) document.getElementById("invite").replaceWith(fresh);
  })
  .catch(() => {});
