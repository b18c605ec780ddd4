import { draw, numberOf, percent, setText, showHint, showPill, watch } from "./view.js";

const WIDTH = 1280; // requested from the camera
const QUALITY = 0.9;
const REPLACED = 4409; // why the server closes the connection of a phone after which another one came
const by = (id) => document.getElementById(id);
let state = {};
let facing = "environment";
let stream = null;
let replaced = false;

const view = watch({
  onState: (next) => { state = next; render(); },
  onPicture: async (blob) => { await draw(by("picture"), blob); by("waiting").hidden = true; },
  onLost: () => { if (!state.ended) { by("state").className = "pill trouble"; setText(by("state"), "no connection"); } },
});

function render() {
  showPill(by("state"), state);
  by("guide").hidden = !state.guide;
  by("toggle").hidden = by("mark").hidden = by("success").hidden = Boolean(state.guide);
  if (state.guide) setText(by("instruction"), state.guide);
  by("numbers").textContent = state.guide ? `${state.frames} used` : state.frames ? `${numberOf(state.frames, "frame")} · ${state.fps} per second` : "";
  by("toggle").textContent = state.recording === false ? "Resume" : "Pause";
  const rates = (state.rates || []).filter((summary) => summary.condition === "patch");
  const rate = rates.length && rates[0][state.target ? "target" : "wrong"];
  if (rate && rate.rate !== null) by("success").textContent = `patch: ${percent(rate.rate)} (${rate.ci95 ? `${percent(rate.ci95[0])} to ${percent(rate.ci95[1])}, ${numberOf(rate.n, state.unit)}` : `one ${state.unit}`})`;
  const plan = state.plan;
  by("plan").hidden = !plan;
  if (plan) {
    by("step").textContent = plan.step ? `${plan.number}/${plan.steps}: ${plan.step}` : "All steps are done.";
    showHint(by("hint"), state);
    by("held").value = plan.step ? plan.held : 1;
    by("confirm").hidden = !plan.waits_for_light;
  }
  if (state.ended && stream) stream.getTracks().forEach((track) => track.stop());
}

by("toggle").onclick = () => view.send(state.recording === false ? "resume" : "pause");
by("mark").onclick = () => view.send("mark", "phone");
by("confirm").onclick = () => view.send("confirm");
by("done").onclick = () => view.send("stop");
by("skip").onclick = () => view.send("skip");
by("turn").onclick = () => { facing = facing === "environment" ? "user" : "environment"; film(); };

async function film() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  const video = by("video");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: WIDTH } }, audio: false });
    for (const track of stream.getTracks()) track.onended = () => { if (!state.ended) film(); }; // another program took the camera
    video.srcObject = stream;
    await video.play();
    if (!state.frames) by("waiting").textContent = "The camera is on. The picture appears when the program is ready.";
  } catch (error) {
    by("waiting").hidden = false;
    by("waiting").textContent = `The camera cannot be used: ${error.message}. Allow this page to use it, then reload the page.`;
  }
}

// Only one frame is in transit at a time, so a slow network means fewer frames, not older ones.
function send() {
  const socket = new WebSocket(`wss://${location.host}/ws/camera`);
  const video = by("video");
  const canvas = document.createElement("canvas");
  const next = () => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (!video.videoWidth || video.paused) { setTimeout(next, 100); return; }
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0);
    canvas.toBlob((blob) => { if (blob && socket.readyState === WebSocket.OPEN) socket.send(blob); }, "image/jpeg", QUALITY);
  };
  socket.onopen = next;
  socket.onmessage = () => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(next) : requestAnimationFrame(next));
  socket.onclose = (event) => {
    replaced = event.code === REPLACED;
    if (replaced) rest();
    else if (!state.ended) setTimeout(send, 1000);
  };
}

// Two phones are not filmed with at once.
function rest() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  by("waiting").hidden = false;
  by("waiting").textContent = "Another phone films now. Reload this page to film with this one.";
}

// A browser lets the screen sleep again, and may stop the video, when another page or program was in front.
function stayAwake() {
  if ("wakeLock" in navigator) navigator.wakeLock.request("screen").catch(() => {});
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" || state.ended || replaced) return;
  stayAwake();
  if (by("video").paused) by("video").play().catch(film);
});
stayAwake();
film().then(send);
