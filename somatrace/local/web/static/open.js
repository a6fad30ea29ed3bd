// Takes the token out of the address before anything else can see it, and sends it once.
"use strict";
const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("token").value = token;
  document.getElementById("open").submit();
}
