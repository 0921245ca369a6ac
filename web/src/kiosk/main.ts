import { mount } from 'svelte';
import '../shared/base.css';
import './kiosk.css';
import Kiosk from './Kiosk.svelte';

const target = document.getElementById('page');
if (target) mount(Kiosk, { target });
